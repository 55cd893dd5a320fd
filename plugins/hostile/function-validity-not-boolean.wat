;; A function whose validity is neither 0 nor 1.
;; world: udf
;; fails: invoke
;; says: not 0 or 1

(func (export "elanus:plugin/scalar-functions@1.0.0#invoke")
  (param $function i32) (param $arguments i32) (param $count i32) (param $rows i32) (result i32)
  (drop (call $f32s (i32.const 4096) (local.get $rows)))
  (memory.fill (i32.const 8192) (i32.const 9) (local.get $rows))
  (i32.store8 (i32.const 664) (i32.const 1))
  (i32.store (i32.const 668) (i32.const 8192))
  (i32.store (i32.const 672) (local.get $rows))
  (i32.const 640))
