;; Needs the column "tags" as ipc("List(Utf8)"), and traps unless it gets an Arrow stream. The order is that of the search.

(data (i32.const 4160)
  "\00\00\00\00" "\70\10\00\00" "\04\00\00\00"
  "\06\00\00\00" "\80\10\00\00" "\0a\00\00\00")
(data (i32.const 4208) "tags")
(data (i32.const 4224) "List(Utf8)")
(func (export "elanus:plugin/reranking@1.0.0#describe") (result i32)
  (i32.store (i32.const 152) (i32.const 4160))
  (i32.store (i32.const 156) (i32.const 1))
  (i32.const 128))
(func (export "elanus:plugin/reranking@1.0.0#rerank") (param $call i32) (result i32)
  (local $column i32)
  (local.set $column (i32.load offset=56 (local.get $call)))
  (if (i32.ne (i32.load8_u offset=8 (local.get $column)) (i32.const 6)) (then unreachable))
  ;; What every message of a stream begins with.
  (if (i32.ne (i32.load (i32.load offset=12 (local.get $column))) (i32.const -1)) (then unreachable))
  (call $good_rerank (local.get $call)))
