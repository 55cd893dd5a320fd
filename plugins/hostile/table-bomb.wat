;; Makes a table larger and larger.
;; fails: rerank
;; says: its table cannot grow

(table $table 1 funcref)
(func (export "elanus:plugin/reranking@1.0.0#rerank") (param $call i32) (result i32)
  (loop $more
    (br_if $more
      (i32.ne (table.grow $table (ref.null func) (i32.const 4096)) (i32.const -1))))
  unreachable)
