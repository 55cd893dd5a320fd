;; Its start function never ends.
;; fails: start
;; says: took longer than

(func $start (loop $forever (br $forever)))
(start $start)
