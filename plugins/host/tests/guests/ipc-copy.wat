;; copy(ipc("Decimal128(10, 2)")) -> ipc("Decimal128(10, 2)"): the bytes that it is given, nulls as they are.

(data (i32.const 4096) "Decimal128(10, 2)")
(func (export "elanus:plugin/scalar-functions@1.0.0#describe") (result i32)
  ;; returns
  (i32.store8 (i32.const 536) (i32.const 6))
  (i32.store (i32.const 540) (i32.const 4096))
  (i32.store (i32.const 544) (i32.const 17))
  (i32.store8 (i32.const 549) (i32.const 1)) ;; called-with-nulls
  ;; parameter
  (i32.store8 (i32.const 584) (i32.const 6))
  (i32.store (i32.const 588) (i32.const 4096))
  (i32.store (i32.const 592) (i32.const 17))
  (i32.const 384))
(func (export "elanus:plugin/scalar-functions@1.0.0#invoke")
  (param $function i32) (param $arguments i32) (param $count i32) (param $rows i32) (result i32)
  (i32.store8 (i32.const 640) (i32.const 0)) ;; ok
  ;; The column of the first argument, with its validity.
  (memory.copy (i32.const 644) (i32.add (local.get $arguments) (i32.const 4)) (i32.const 32))
  (global.set $top (i32.const 65536))
  (i32.const 640))
