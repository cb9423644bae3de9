# SPDX-License-Identifier: MIT OR Apache-2.0
# Threads as Ruby has them; the output is the same at every run, so two runs can
# be compared.
require "etc"
require "io/wait"
require "monitor"
require "open3"
require "socket"
require "timeout"

$stdout.sync = true
PATIENCE = 30

# Waits for a condition, in naps.
def wait_for(what)
  deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + PATIENCE
  until yield
    raise "#{what} has not come" if Process.clock_gettime(Process::CLOCK_MONOTONIC) > deadline
    sleep 0.001
  end
end

def all(threads)
  threads.map { |t| t.join(PATIENCE) or raise "#{t} has not ended" }.map(&:value)
end

def queues
  jobs, results = SizedQueue.new(7), Queue.new
  workers = 50.times.map do
    Thread.new do
      while (job = jobs.pop)
        results << [job, job * job]
      end
    end
  end
  3000.times { |i| jobs << i }
  jobs.close
  all workers
  found = 3000.times.map { results.pop(true) }.sort
  puts "queues: #{found == 3000.times.map { |i| [i, i * i] }} #{results.empty?}"
  begin
    results.pop(true)
  rescue ThreadError => e
    puts "queues: #{e.message}"
  end
  begin
    jobs << 1
  rescue ClosedQueueError => e
    puts "queues: #{e.message}"
  end
  waits = 20.times.map { Thread.new { results.pop } }
  wait_for("waiters") { results.num_waiting == 20 }
  results.close
  puts "queues: closed, #{all(waits).compact.size} got something"
end

def locks
  mutex, monitor, total = Mutex.new, Monitor.new, [0, 0]
  all(60.times.map do
    Thread.new do
      100.times do
        mutex.synchronize do
          before = total[0]
          Thread.pass if before % 50 == 0
          total[0] = before + 1
        end
        monitor.synchronize { monitor.synchronize { total[1] += 1 } }
      end
    end
  end)
  puts "locks: #{total} #{mutex.locked?} #{mutex.owned?}"
  begin
    mutex.synchronize { mutex.lock }
  rescue ThreadError => e
    puts "locks: #{e.message}"
  end
  begin
    mutex.unlock
  rescue ThreadError => e
    puts "locks: #{e.message[/\A[^<]*/]}"
  end
  turn, order, changed = 0, [], ConditionVariable.new
  all(80.times.map do |i|
    Thread.new do
      mutex.synchronize do
        changed.wait(mutex, PATIENCE) until turn == i
        order << i
        turn += 1
        changed.broadcast
      end
    end
  end)
  puts "locks: in turn #{order == (0...80).to_a}"
  puts "locks: nobody tells #{mutex.synchronize { changed.wait(mutex, 0.01) && turn }}"
  buffer, full = [], monitor.new_cond
  taker = Thread.new { monitor.synchronize { full.wait_while { buffer.empty? }; buffer.shift } }
  monitor.synchronize { buffer << :item; full.signal }
  puts "locks: #{taker.value}"
end

# The interpreter knows when nobody is left who could wake anybody.
def deadlock
  Thread.new { Thread.current.report_on_exception = false }.join
  Queue.new.pop
rescue Exception => e
  puts "deadlock: #{e.class} #{e.message.lines.first}"
end

def interrupts
  pipe, = IO.pipe
  server = TCPServer.new("127.0.0.1", 0)
  held, sleeper = Mutex.new.lock, Thread.new { sleep }
  { "sleep" => -> { sleep }, "pop" => -> { Queue.new.pop }, "read" => -> { pipe.read },
    "accept" => -> { server.accept }, "lock" => -> { held.lock },
    "select" => -> { IO.select([pipe]) }, "spin" => -> { loop {} },
    "join" => -> { sleeper.join }, "getline" => -> { pipe.gets } }.each do |name, wait|
    raised = Thread.new do
      Thread.current.report_on_exception = false
      Thread.current[:begun] = true
      wait.call
    rescue IOError => e
      "#{e.class} #{e.message}"
    end
    killed = Thread.new do
      Thread.current[:begun] = true
      wait.call
    ensure
      Thread.current[:ensured] = true
    end
    wait_for(name) { [raised, killed].all? { |t| t[:begun] && (name == "spin" || t.stop?) } }
    raised.raise(IOError, "from outside")
    killed.kill
    killed.join(PATIENCE)
    puts "interrupts: #{name}: #{raised.value} #{killed.status.inspect} #{killed[:ensured]}"
  end
  safe = []
  waits = Thread.new do
    Thread.handle_interrupt(RuntimeError => :never) do
      safe << 1
      sleep 0.01 until safe.size > 1
      safe << Thread.pending_interrupt?
      begin
        Thread.handle_interrupt(RuntimeError => :immediate) { Thread.pass }
      rescue RuntimeError => e
        safe << e.message
      end
    end
  end
  wait_for("handler") { safe.size == 1 }
  waits.raise("masked")
  safe << 2
  waits.join(PATIENCE)
  puts "interrupts: #{safe}"
  stopped = Thread.new { Thread.stop; :woken }
  wait_for("stop") { stopped.stop? }
  stopped.wakeup
  puts "interrupts: #{stopped.value}"
end

def failures
  quiet = Thread.new { Thread.current.report_on_exception = false; raise ArgumentError, "quiet" }
  begin
    quiet.value
  rescue ArgumentError => e
    puts "failures: #{e.message} #{quiet.status.inspect}"
  end
  loud = Thread.new { raise KeyError, "loud" }
  loud.join rescue puts "failures: #{$!.message}"
  begin
    Thread.new { Thread.current.abort_on_exception = true; Thread.current.report_on_exception = false; raise "to main" }
    sleep PATIENCE
  rescue RuntimeError => e
    puts "failures: #{e.message}"
  end
  dive = ->(n) { dive.(n + 1) + 1 }
  begin
    dive.(0)
  rescue SystemStackError => e
    puts "failures: main: #{e.message}"
  end
  puts "failures: threads: #{all(8.times.map { Thread.new { begin; dive.(0); rescue SystemStackError; $!.message; end } }).uniq}"
  thrown = Thread.new { Thread.current.report_on_exception = false; throw :nowhere }
  thrown.value rescue puts "failures: #{$!.class}"
end

def locals
  Thread.current[:fiber] = Thread.current.thread_variable_set(:thread, 0)
  seen = all(100.times.map do |i|
    Thread.new do
      Thread.current.name = "thread #{i}"
      Thread.current[:fiber] = i
      Thread.current.thread_variable_set(:thread, i)
      in_fiber = Fiber.new do
        sleep 0.001
        Fiber.yield [Thread.current[:fiber], Thread.current.thread_variable_get(:thread)]
        $~ = nil
        "x#{i}" =~ /(\d+)/
        Thread.pass
        $1
      end
      [in_fiber.resume, in_fiber.resume, Thread.current[:fiber], Thread.current.name]
    end
  end)
  puts "locals: #{seen == 100.times.map { |i| [[nil, i], i.to_s, i, "thread #{i}"] }}"
  sums = all(30.times.map do |i|
    Thread.new do
      numbers = Enumerator.new { |y| n = i; loop { Thread.pass; y << (n += 1) } }
      30.times.sum { numbers.next }
    end
  end)
  puts "locals: #{sums == 30.times.map { |i| 30 * i + 465 }}"
  group = ThreadGroup.new
  member = Thread.new { Thread.stop }
  group.add(member)
  puts "locals: #{group.list == [member]} #{Thread.list.include?(member)}"
  member.kill.join
end

def timeouts
  pipe, = IO.pipe
  { "sleep" => -> { sleep }, "read" => -> { pipe.read(1) }, "spin" => -> { loop {} },
    "pop" => -> { Queue.new.pop }, "join" => -> { Thread.new { sleep }.join } }.each do |name, wait|
    Timeout.timeout(0.02) { wait.call }
    puts "timeouts: #{name} came to an end"
  rescue Timeout::Error => e
    puts "timeouts: #{name}: #{e.message}"
  end
  ended = all(60.times.map { Thread.new { begin; Timeout.timeout(0.02) { sleep }; rescue Timeout::Error; 1; end } })
  puts "timeouts: #{ended.sum} of many, #{Timeout.timeout(PATIENCE) { :done }}"
  puts "timeouts: #{Thread.new { sleep }.join(0.01).inspect} #{IO.select([pipe], nil, nil, 0.01).inspect}"
end

def processes
  seen = all(24.times.map do |i|
    Thread.new do
      case i % 6
      when 0 then `echo #{i}; exit #{i}`.chomp + " #{$?.exitstatus}"
      when 1 then "#{system("exit #{i}")} #{$?.exitstatus}"
      when 2 then IO.popen(["tr", "a-z", "A-Z"], "r+") { |io| io.write("popen#{i}"); io.close_write; io.read }
      when 3
        pid = fork do
          # A child has its caller alone, and makes threads of its own.
          sum = 10.times.map { |k| Thread.new { sleep 0.001; k } }.sum(&:value)
          exit! sum + Thread.list.size
        end
        Process.wait2(pid)[1].exitstatus
      when 4 then Open3.capture3("cat; echo err >&2; exit 4", stdin_data: "x" * 100_000).then { |o, e, s| [o.size, e, s.exitstatus] }
      when 5
        pid = spawn("exec sleep 60")
        Process.kill(:TERM, pid)
        Process.wait2(pid)[1].termsig
      end
    end
  end)
  puts "processes: #{seen}"
  watched = Process.detach(spawn("exit 9"))
  puts "processes: #{watched.value.exitstatus} #{Process.pid == watched.pid}"
  read, write = IO.pipe
  pid = fork { read.close; 5.times.map { |i| Thread.new { write.puts i } }.each(&:join); exit 6 }
  write.close
  puts "processes: #{read.read.split.sort} #{Process.wait2(pid)[1].exitstatus}"
end

def signals
  told = Queue.new
  trap("USR1") { told << Thread.current.object_id }
  asked = all(10.times.map { Thread.new { 10.times { Process.kill(:USR1, $$); sleep 0.001 } } })
  wait_for("signals") { !told.empty? }
  sleep 0.001 while told.size < 1
  at = []
  at << told.pop until told.empty?
  puts "signals: in main #{at.uniq == [Thread.main.object_id]} #{asked.size}"
  woken = 0
  trap("USR2") { woken += 1 }
  sender = Thread.new { sleep 0.001 until Thread.main.stop?; Process.kill(:USR2, $$) }
  wait_for("a handler") { woken == 1 }
  sender.join
  begin
    Thread.new { Process.kill(:INT, $$) }
    sleep PATIENCE
  rescue Interrupt => e
    puts "signals: #{e.class}"
  end
  begin
    Thread.new { Process.kill(:TERM, $$) }
    Queue.new.pop
  rescue SignalException => e
    puts "signals: #{e.message}"
  end
  puts "signals: #{trap("USR1", "DEFAULT").class} #{trap("USR2", "IGNORE").class}"
end

def sockets
  server = TCPServer.new("127.0.0.1", 0)
  serving = Thread.new do
    loop do
      Thread.new(server.accept) do |peer|
        while (line = peer.gets)
          peer.write(line.upcase)
        end
        peer.close
      end
    end
  end
  answers = all(100.times.map do |i|
    Thread.new do
      TCPSocket.open("127.0.0.1", server.addr[1]) do |s|
        10.times.all? { |k| s.puts("client #{i} #{k}"); s.gets == "CLIENT #{i} #{k}\n" } && (s.close_write; s.read)
      end
    end
  end)
  puts "sockets: #{answers.uniq}"
  serving.kill.join
  a, b = UNIXSocket.pair
  a.setsockopt(:SOCKET, :RCVTIMEO, [0, 10_000].pack("l!2"))
  readers = 20.times.map { Thread.new { b.recv(5) } }
  20.times { a.send("12345", 0) }
  puts "sockets: #{all(readers).uniq} #{a.recv_nonblock(5, exception: false)} #{a.wait_readable(0.01).inspect}"
  udp = UDPSocket.new.tap { |u| u.bind("127.0.0.1", 0) }
  got = Thread.new { udp.recvfrom(100)[0] }
  UDPSocket.new.send("datagram", 0, "127.0.0.1", udp.addr[1])
  puts "sockets: #{got.value}"
  closed = Thread.new { begin; udp.recv(1); rescue IOError; $!.message; end }
  wait_for("a reader") { closed.stop? }
  udp.close
  puts "sockets: #{closed.value}"
  puts "sockets: #{Thread.new { Addrinfo.tcp("localhost", 80).ip_port }.value} #{Etc.getpwuid(0).name}"
end

def ractors
  workers = 6.times.map { |i| Ractor.new(i) { |n| n + 2000.times.sum { |k| k * Ractor.receive } } }
  2000.times { |k| workers.each { |r| r.send(k) } }
  puts "ractors: #{workers.map(&:take)}"
  pipe = Ractor.new { loop { Ractor.yield(Ractor.receive * 2) } }
  puts "ractors: #{50.times.sum { |i| pipe << i; pipe.take }}"
  failing = Ractor.new { Thread.current.report_on_exception = false; raise "inside" }
  failing.take rescue puts "ractors: #{$!.class} #{$!.cause.message}"
end

def garbage
  sums = all(30.times.map do |i|
    Thread.new do
      kept = []
      400.times { |k| kept << "#{i}-#{k}" * 20; kept.shift if kept.size > 50; Thread.pass if k % 100 == 0 }
      GC.start if i % 10 == 0
      kept.size
    end
  end)
  puts "garbage: #{sums.uniq}"
end

parts = ARGV.empty? ? %i[queues locks deadlock interrupts failures locals timeouts processes signals sockets ractors garbage] : ARGV
parts.each { |name| send(name) }
at_exit { puts "at exit: #{Thread.current == Thread.main}" }
at_exit { puts "at exit: first" }
# Some are left asleep, and it ends by one that is not the main thread.
20.times { Thread.new { begin sleep ensure Thread.pass end } }
Thread.new { exit 7 }
sleep PATIENCE
