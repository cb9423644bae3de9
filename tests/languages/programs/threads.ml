(* SPDX-License-Identifier: MIT OR Apache-2.0
   Threads as OCaml has them, of which one at a time runs OCaml and is told by a
   tick to let the next; the output is the same at every run, so two runs can be
   compared. *)

let say format = Printf.ksprintf (fun s -> print_endline s) format
let long = 30.

let wait_for what met =
  let deadline = Unix.gettimeofday () +. long in
  while not (met ()) do
    if Unix.gettimeofday () > deadline then failwith (what ^ " has not come");
    Thread.delay 0.001
  done

(* As many threads that call f with their number; what they return. *)
let all n f =
  let results = Array.make n None in
  let threads = List.init n (Thread.create (fun i -> results.(i) <- Some (f i))) in
  List.iter Thread.join threads;
  Array.to_list (Array.map Option.get results)

let sum = List.fold_left ( + ) 0
let with_lock m f = Mutex.lock m; Fun.protect f ~finally:(fun () -> Mutex.unlock m)

let raises f = match f () with _ -> "nothing" | exception e -> Printexc.to_string e

let locks () =
  let m = Mutex.create () and c = Condition.create () in
  let count = ref 0 in
  ignore (all 80 (fun _ ->
    for k = 1 to 100 do
      with_lock m (fun () ->
        let before = !count in
        if k mod 25 = 0 then Thread.yield ();
        count := before + 1)
    done));
  say "locks: %d %b" !count (Mutex.try_lock m);
  say "locks: %b" (Mutex.try_lock m);
  say "locks: %s" (raises (fun () -> Mutex.lock m));
  Mutex.unlock m;
  say "locks: %s" (raises (fun () -> Mutex.unlock m));
  let turn = ref 0 in
  let order = all 100 (fun i ->
    with_lock m (fun () ->
      while !turn <> i do Condition.wait c m done;
      incr turn;
      Condition.broadcast c;
      !turn)) in
  say "locks: %b" (order = List.init 100 succ);
  (* Who computes without a pause is told to make room. *)
  let stop = ref false in
  let spinners = List.init 4 (Thread.create (fun _ ->
    let n = ref 0 in
    while not !stop do incr n; ignore (Sys.opaque_identity (ref !n)) done)) in
  say "locks: %d" (sum (all 20 (fun i -> Thread.delay 0.001; i)));
  stop := true;
  List.iter Thread.join spinners;
  let gate = Semaphore.Counting.make 3 and inside = ref 0 and most = ref 0 in
  ignore (all 30 (fun _ ->
    for _ = 1 to 20 do
      Semaphore.Counting.acquire gate;
      incr inside;
      most := max !most !inside;
      Thread.yield ();
      decr inside;
      Semaphore.Counting.release gate
    done));
  say "locks: %b %d" (!most <= 3) (Semaphore.Counting.get_value gate)

let events () =
  let numbers = Event.new_channel () and answers = Event.new_channel () in
  let workers = List.init 20 (Thread.create (fun _ ->
    let rec work () =
      match Event.sync (Event.receive numbers) with
      | 0 -> ()
      | n -> Event.sync (Event.send answers (n * n)); work () in
    work ())) in
  let feeds = Thread.create (fun () ->
    for n = 1 to 1000 do Event.sync (Event.send numbers n) done) () in
  let total = ref 0 in
  for _ = 1 to 1000 do total := !total + Event.sync (Event.receive answers) done;
  Thread.join feeds;
  List.iter (fun _ -> Event.sync (Event.send numbers 0)) workers;
  List.iter Thread.join workers;
  say "events: %d" !total;
  let channels = Array.init 10 (fun _ -> Event.new_channel ()) in
  let senders = Array.to_list (Array.mapi (fun i channel ->
    Thread.create (fun () ->
      for k = 1 to 50 do Event.sync (Event.send channel (i * k)) done) ()) channels) in
  let any = Event.choose (Array.to_list (Array.map Event.receive channels)) in
  let got = ref 0 in
  for _ = 1 to 500 do got := !got + Event.sync any done;
  List.iter Thread.join senders;
  say "events: %d" !got;
  let never = Event.receive (Event.new_channel ()) in
  say "events: %s" (Event.select [ never; Event.always "at once"; never ]);
  say "events: %b" (Event.poll (Event.receive channels.(0)) = None);
  let first = Event.new_channel () in
  let links = ref [] in
  let last = List.fold_left (fun from _ ->
    let into = Event.new_channel () in
    links := Thread.create (fun () ->
      Event.sync (Event.send into (1 + Event.sync (Event.receive from)))) () :: !links;
    into) first (List.init 500 Fun.id) in
  Event.sync (Event.send first 0);
  say "events: %d" (Event.sync (Event.receive last));
  List.iter Thread.join !links

let lives () =
  let ids = all 200 (fun _ -> Thread.id (Thread.self ())) in
  say "lives: %d" (List.length (List.sort_uniq compare ids));
  let begun = Unix.gettimeofday () in
  Thread.delay 0.02;
  say "lives: %b" (Unix.gettimeofday () -. begun >= 0.02);
  let after = ref 0 in
  List.iter Thread.join (List.init 10 (Thread.create (fun _ ->
    incr after;
    if !after > 0 then Thread.exit ();
    after := -100)));
  say "lives: %d" !after;
  (* Garbage of many threads. *)
  let lists = all 30 (fun i ->
    let kept = ref [] in
    for k = 1 to 2000 do
      kept := String.make (k mod 50) 'x' :: !kept;
      if k mod 500 = 0 then (kept := []; Thread.yield ());
      if k = 1000 && i mod 10 = 0 then Gc.compact ()
    done;
    i + List.length !kept) in
  say "lives: %d" (sum lists);
  let rec deep n = if n = 0 then 0 else 1 + deep (n - 1) in
  say "lives: %d" (sum (all 20 (fun _ -> Thread.yield (); deep 20_000)));
  let rec dive n = 1 + dive (n + 1) in
  say "lives: %s" (raises (fun () -> dive 0));
  Printexc.record_backtrace false;
  ignore (all 1 (fun _ -> ()));
  Thread.join (Thread.create (fun () -> failwith "leaves a thread") ())

let signals () =
  let told = ref 0 in
  Sys.set_signal Sys.sigusr1 (Sys.Signal_handle (fun _ -> incr told));
  Thread.join (Thread.create (fun () -> Unix.kill (Unix.getpid ()) Sys.sigusr1) ());
  wait_for "a signal" (fun () -> !told > 0);
  say "signals: %d" !told;
  (* Who has been joined may be about to end yet, and would take it. *)
  Sys.set_signal Sys.sigusr2 (Sys.Signal_handle ignore);
  ignore (Thread.sigmask Unix.SIG_BLOCK [ Sys.sigusr2; Sys.sigalrm ]);
  let got = ref 0 in
  let waits = Thread.create (fun () -> got := Thread.wait_signal [ Sys.sigusr2 ]) () in
  wait_for "usr2" (fun () -> Unix.kill (Unix.getpid ()) Sys.sigusr2; !got <> 0);
  Thread.join waits;
  say "signals: usr2 %b" (!got = Sys.sigusr2);
  let masks = all 10 (fun _ -> List.length (Thread.sigmask Unix.SIG_UNBLOCK [])) in
  say "signals: %d" (sum masks);
  ignore (Thread.sigmask Unix.SIG_UNBLOCK [ Sys.sigusr2; Sys.sigalrm ]);
  let exception Late in
  Sys.set_signal Sys.sigalrm (Sys.Signal_handle (fun _ -> raise Late));
  ignore (Unix.setitimer Unix.ITIMER_REAL { it_interval = 0.; it_value = 0.02 });
  say "signals: %b" (match Unix.sleepf long with () -> false | exception Late -> true);
  let read, _ = Unix.pipe () in
  ignore (Unix.setitimer Unix.ITIMER_REAL { it_interval = 0.; it_value = 0.02 });
  say "signals: %b" (match Unix.read read (Bytes.create 1) 0 1 with
    | _ -> false | exception Late -> true)

let sockets () =
  let loopback = Unix.ADDR_INET (Unix.inet_addr_loopback, 0) in
  let server = Unix.socket Unix.PF_INET Unix.SOCK_STREAM 0 in
  Unix.bind server loopback;
  Unix.listen server 200;
  let at = Unix.getsockname server in
  let serve (peer, _) =
    let input = Unix.in_channel_of_descr peer and output = Unix.out_channel_of_descr peer in
    (try
      while true do
        output_string output (String.uppercase_ascii (input_line input) ^ "\n");
        flush output
      done
    with End_of_file -> ());
    Unix.close peer in
  ignore (Thread.create (fun () ->
    while true do ignore (Thread.create serve (Unix.accept server)) done) ());
  let right = all 100 (fun i ->
    let input, output = Unix.open_connection at in
    let right = ref 0 in
    for k = 1 to 10 do
      Printf.fprintf output "client %d %d\n%!" i k;
      if input_line input = Printf.sprintf "CLIENT %d %d" i k then incr right
    done;
    Unix.shutdown_connection input;
    close_in input;
    !right) in
  say "sockets: %d" (sum right);
  let one, other = Unix.socketpair Unix.PF_UNIX Unix.SOCK_DGRAM 0 in
  Unix.setsockopt_float one Unix.SO_RCVTIMEO 0.02;
  say "sockets: %s" (raises (fun () -> Unix.read one (Bytes.create 1) 0 1));
  let readers = List.init 10 (Thread.create (fun _ ->
    ignore (Unix.read other (Bytes.create 9) 0 9))) in
  for _ = 1 to 10 do ignore (Unix.write_substring one "datagram" 0 8) done;
  List.iter Thread.join readers;
  say "sockets: %b" (Unix.select [ one ] [] [] 0.01 = ([], [], []));
  say "sockets: %b" (Thread.wait_timed_write other 1.)

let processes () =
  let seen = all 12 (fun i ->
    match i mod 3 with
    | 0 ->
      let input = Unix.open_process_in (Printf.sprintf "echo out; exit %d" i) in
      let line = input_line input in
      (match Unix.close_process_in input with
       | Unix.WEXITED n -> Printf.sprintf "%s %d" line n | _ -> "signal")
    | 1 -> string_of_int (Sys.command (Printf.sprintf "exit %d" i))
    | _ ->
      (match Unix.fork () with
       | 0 -> Unix._exit (i + 20)
       | pid -> (match Unix.waitpid [] pid with
          | _, Unix.WEXITED n -> string_of_int n | _ -> "signal"))) in
  say "processes: %s" (String.concat ", " seen);
  (* A child has its caller alone, and makes threads of its own. *)
  let child = all 1 (fun _ ->
    match Unix.fork () with
    | 0 -> Unix._exit (sum (all 10 (fun i -> Thread.delay 0.001; i)))
    | pid -> (match Unix.waitpid [] pid with _, Unix.WEXITED n -> n | _ -> -1)) in
  say "processes: %d" (sum child)

let () =
  locks ();
  events ();
  lives ();
  signals ();
  sockets ();
  processes ();
  at_exit (fun () -> say "at exit");
  (* Some are left asleep, and it ends by one that is not the main thread. *)
  for _ = 1 to 20 do ignore (Thread.create Thread.delay long) done;
  Thread.join (Thread.create (fun () -> exit 7) ())
