;; What the guests of this folder share: a reranker and a function that behave. A guest overrides what it likes by
;; exporting its own, its memory too.
;;
;; Memory: 0..4096 constant answers, 4096..65536 free for guests, from 65536 on handed out by $realloc and never taken back
;; before the next call.

(global $top (mut i32) (i32.const 65536))

;; Gives out memory from $top upwards, growing as needed.
(func $realloc (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
  (local $start i32)
  (local.set $start
    (i32.and
      (i32.add (global.get $top) (i32.sub (local.get $align) (i32.const 1)))
      (i32.xor (i32.sub (local.get $align) (i32.const 1)) (i32.const -1))))
  (global.set $top (i32.add (local.get $start) (local.get $size)))
  (if (i32.gt_u (global.get $top) (i32.mul (memory.size) (i32.const 65536)))
    (then
      (if (i32.eq
            (memory.grow
              (i32.add
                (i32.div_u
                  (i32.sub (global.get $top) (i32.mul (memory.size) (i32.const 65536)))
                  (i32.const 65536))
                (i32.const 1)))
            (i32.const -1))
        (then unreachable))))
  (local.get $start))
(export "cabi_realloc" (func $realloc))

;; result<_, error>::ok is all zeros; nobody writes here.
(func $good_configure (param i32 i32) (result i32) (i32.const 0))

(data (i32.const 64) "guest1.0.0badnames")

;; A descriptor with nothing but name and version, at 128.
(data (i32.const 128) "\40\00\00\00" "\05\00\00\00" "\45\00\00\00" "\05\00\00\00")
(func $good_describe (result i32) (i32.const 128))

;; The order as found, the negative distance as score. The answer is at 256: result tag, order, scores.
(func $good_rerank (param $call i32) (result i32)
  (local $rows i32) (local $distances i32) (local $order i32) (local $scores i32) (local $row i32)
  (local.set $distances (i32.load offset=48 (local.get $call)))
  (local.set $rows (i32.load offset=52 (local.get $call)))
  (local.set $order
    (call $realloc (i32.const 0) (i32.const 0) (i32.const 4) (i32.mul (local.get $rows) (i32.const 8))))
  (local.set $scores (i32.add (local.get $order) (i32.mul (local.get $rows) (i32.const 4))))
  (block $done
    (loop $next
      (br_if $done (i32.ge_u (local.get $row) (local.get $rows)))
      (i32.store
        (i32.add (local.get $order) (i32.mul (local.get $row) (i32.const 4))) (local.get $row))
      (f32.store
        (i32.add (local.get $scores) (i32.mul (local.get $row) (i32.const 4)))
        (f32.neg
          (f32.load (i32.add (local.get $distances) (i32.mul (local.get $row) (i32.const 4))))))
      (local.set $row (i32.add (local.get $row) (i32.const 1)))
      (br $next)))
  (call $answer (local.get $order) (local.get $rows) (local.get $scores) (local.get $rows)))

;; Writes ok(ranking) to 256, and starts the memory of the next call afresh.
(func $answer
  (param $order i32) (param $orders i32) (param $scores i32) (param $score_count i32) (result i32)
  (i32.store8 (i32.const 256) (i32.const 0))
  (i32.store (i32.const 260) (local.get $order))
  (i32.store (i32.const 264) (local.get $orders))
  (i32.store (i32.const 268) (local.get $scores))
  (i32.store (i32.const 272) (local.get $score_count))
  (global.set $top (i32.const 65536))
  (i32.const 256))

;; Functions: name, version, and one function at 512, "copy(f32s) -> f32s", which is also the last parameter's place.
(data (i32.const 320) "copyx")
(data (i32.const 384)
  "\40\00\00\00" "\05\00\00\00"   ;; name
  "\45\00\00\00" "\05\00\00\00"   ;; version
  "\00\02\00\00" "\01\00\00\00")  ;; functions
(data (i32.const 512)
  "\40\01\00\00" "\04\00\00\00"   ;; name
  "\00\00\00\00" "\00\00\00\00"   ;; description
  "\40\02\00\00" "\01\00\00\00"   ;; parameters
  "\00\00\00\00" "\00\00\00\00" "\00\00\00\00" ;; returns f32s
  "\00\00\00\00")                 ;; immutable, null-if-any-null
(data (i32.const 576)
  "\44\01\00\00" "\01\00\00\00"   ;; name
  "\00\00\00\00" "\00\00\00\00" "\00\00\00\00") ;; f32s
(func $good_functions (result i32) (i32.const 384))

;; ok(column f32s) at 640: result tag 0, then the column at 4: tag of its data, pointer, length, .., validity.
(func $f32s (param $values i32) (param $rows i32) (result i32)
  (i32.store (i32.const 640) (i32.const 0))
  (i32.store (i32.const 644) (i32.const 0))
  (i32.store (i32.const 648) (local.get $values))
  (i32.store (i32.const 652) (local.get $rows))
  (i32.store (i32.const 664) (i32.const 0))
  (global.set $top (i32.const 65536))
  (i32.const 640))

;; The values of the first argument, which are the first list of its payload.
(func $good_invoke (param $function i32) (param $arguments i32) (param $count i32) (param $rows i32) (result i32)
  (call $f32s (i32.load offset=8 (local.get $arguments)) (local.get $rows)))
