# SPDX-License-Identifier: MIT OR Apache-2.0
# A thread for each connection; see language.py for what it answers.
require "socket"

server = TCPServer.new("127.0.0.1", ARGV[0].to_i)
server.listen(1024)
total, mutex = 0, Mutex.new
loop do
  Thread.new(server.accept) do |peer|
    count = 0
    while (line = peer.gets&.chomp)
      exit 5 if line == "quit"
      all = mutex.synchronize { total += line == "total" ? 0 : 1 }
      peer.write(line == "total" ? "#{all}\n" : "#{count += 1} #{line.reverse}\n")
    end
    peer.close
  end
end
