(* SPDX-License-Identifier: MIT OR Apache-2.0
   As many threads as asked for wait until a line comes; see language.py. *)

let () =
  let count = int_of_string Sys.argv.(1) in
  let lock = Mutex.create () and changed = Condition.create () in
  let waiting = ref 0 and woken = ref 0 and sum = ref 0 and go = ref false in
  let wait i =
    Mutex.lock lock;
    incr waiting;
    while not !go do Condition.wait changed lock done;
    incr woken;
    Mutex.unlock lock;
    Thread.delay 0.001;
    Mutex.lock lock;
    sum := !sum + i;
    Mutex.unlock lock in
  let threads = List.init count (Thread.create wait) in
  while Mutex.lock lock; let n = !waiting in Mutex.unlock lock; n < count do
    Thread.delay 0.001
  done;
  print_endline "waiting";
  ignore (read_line ());
  Mutex.lock lock;
  go := true;
  Condition.broadcast changed;
  Mutex.unlock lock;
  List.iter Thread.join threads;
  Printf.printf "%d %d\n" !sum !woken
