;; A function that returns bytes for texts.
;; world: udf
;; fails: invoke
;; says: not UTF-8

(data (i32.const 4096) "\00\00\00\00" "\01\00\00\00" "\02\00\00\00" "\05\00\00\00")
(data (i32.const 8192) "\c3\28\ff\fe\80")
(func (export "elanus:plugin/scalar-functions@1.0.0#describe") (result i32)
  (i32.store8 (i32.const 536) (i32.const 4)) ;; returns text
  (i32.const 384))
(func (export "elanus:plugin/scalar-functions@1.0.0#invoke")
  (param $function i32) (param $arguments i32) (param $count i32) (param $rows i32) (result i32)
  (i32.store (i32.const 640) (i32.const 0))
  (i32.store (i32.const 644) (i32.const 4))
  (i32.store (i32.const 648) (i32.const 4096))
  (i32.store (i32.const 652) (i32.add (local.get $rows) (i32.const 1)))
  (i32.store (i32.const 656) (i32.const 8192))
  (i32.store (i32.const 660) (i32.const 5))
  (i32.const 640))
