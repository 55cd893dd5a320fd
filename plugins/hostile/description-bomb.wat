;; Describes ten thousand parameters that all share one text of 60 kilobytes: small in the guest,
;; 600 megabytes in the host.
;; fails: describe
;; says: fuel

(func (export "elanus:plugin/reranking@1.0.0#describe") (result i32) (local $at i32)
  (drop (memory.grow (i32.const 16)))
  (memory.fill (i32.const 65536) (i32.const 97) (i32.const 60000))
  (local.set $at (i32.const 131072))
  (loop $next
    (i32.store (local.get $at) (i32.const 65536))
    (i32.store offset=4 (local.get $at) (i32.const 60000))
    (local.set $at (i32.add (local.get $at) (i32.const 48)))
    (br_if $next (i32.lt_u (local.get $at) (i32.const 611072))))
  (i32.store (i32.const 168) (i32.const 131072))
  (i32.store (i32.const 172) (i32.const 10000))
  (i32.const 128))
