# SPDX-License-Identifier: MIT OR Apache-2.0
# A thread for each connection; see language.py for what it answers.
use strict;
use warnings;
use threads ("stack_size" => 256 * 1024);
use threads::shared;
use IO::Socket::INET;
use POSIX ();

my $total : shared = 0;

sub serve {
    my $peer = shift;
    my $count = 0;
    $peer->autoflush;
    while (my $line = <$peer>) {
        chomp $line;
        POSIX::_exit(5) if $line eq "quit";
        lock $total;
        print $peer $line eq "total" ? "$total\n" : ++$total && ++$count . " " . reverse($line) . "\n";
    }
    close $peer;
}

my $server = IO::Socket::INET->new(Listen => 1024, ReuseAddr => 1, LocalAddr => "127.0.0.1", LocalPort => $ARGV[0]) or die;
while (my $peer = $server->accept) {
    threads->create(\&serve, $peer)->detach;
    close $peer;
}
