;; Traps before anything is asked of it.
;; fails: start
;; says: unreachable

(func $start unreachable)
(start $start)
