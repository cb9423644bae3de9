# SPDX-License-Identifier: MIT OR Apache-2.0
# As many threads as asked for wait until a line comes; see language.py.
count, woken, sum, go = ARGV[0].to_i, 0, 0, false
mutex, changed = Mutex.new, ConditionVariable.new
waiting = 0
threads = count.times.map do |i|
  Thread.new do
    mutex.synchronize do
      waiting += 1
      changed.wait(mutex) until go
      woken += 1
    end
    sleep 0.001
    i
  end
end
sleep 0.001 until mutex.synchronize { waiting == count }
puts "waiting"
$stdout.flush
$stdin.gets
mutex.synchronize { go = true; changed.broadcast }
puts "#{threads.sum(&:value)} #{woken}"
