;; A function that returns integers and had said floats.
;; world: udf
;; fails: invoke
;; says: its signature says f32s

(func (export "elanus:plugin/scalar-functions@1.0.0#invoke")
  (param $function i32) (param $arguments i32) (param $count i32) (param $rows i32) (result i32)
  (drop (call $f32s (i32.const 4096) (local.get $rows)))
  (i32.store8 (i32.const 644) (i32.const 2))
  (i32.const 640))
