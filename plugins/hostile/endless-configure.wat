;; Thinks about its parameters forever.
;; fails: configure
;; says: took longer than

(func (export "elanus:plugin/reranking@1.0.0#configure") (param i32 i32) (result i32)
  (loop $forever (br $forever))
  unreachable)
