(* SPDX-License-Identifier: MIT OR Apache-2.0
   A thread for each connection; see language.py for what it answers. *)

let total = ref 0
let lock = Mutex.create ()
let backwards s = let n = String.length s in String.init n (fun i -> s.[n - 1 - i])

let serve (peer, _) =
  let input = Unix.in_channel_of_descr peer and output = Unix.out_channel_of_descr peer in
  let rec answer count =
    match input_line input with
    | exception End_of_file -> ()
    | "quit" -> Unix._exit 5
    | "total" -> Printf.fprintf output "%d\n%!" !total; answer count
    | line ->
      Mutex.lock lock;
      incr total;
      Mutex.unlock lock;
      Printf.fprintf output "%d %s\n%!" count (backwards line);
      answer (count + 1) in
  answer 1;
  close_out output

let () =
  let server = Unix.socket Unix.PF_INET Unix.SOCK_STREAM 0 in
  Unix.setsockopt server Unix.SO_REUSEADDR true;
  Unix.bind server (Unix.ADDR_INET (Unix.inet_addr_loopback, int_of_string Sys.argv.(1)));
  Unix.listen server 1024;
  while true do
    ignore (Thread.create serve (Unix.accept server))
  done
