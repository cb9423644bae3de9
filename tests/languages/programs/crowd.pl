# SPDX-License-Identifier: MIT OR Apache-2.0
# As many threads as asked for wait until a line comes; see language.py.
use strict;
use warnings;
use threads ("stack_size" => 256 * 1024);
use threads::shared;
use Time::HiRes "sleep";

my ($waiting, $woken, $go) : shared = (0, 0, 0);
share($_) for $waiting, $woken, $go;

sub waits {
    my $i = shift;
    {
        lock $go;
        $waiting++;
        cond_wait($go) until $go;
        $woken++;
    }
    sleep 0.001;
    return $i;
}

my @threads = map { threads->create(\&waits, $_) } 0 .. $ARGV[0] - 1;
sleep 0.001 until do { lock $go; $waiting == @threads };
$| = 1;
print "waiting\n";
<STDIN>;
{ lock $go; $go = 1; cond_broadcast($go) }
my $sum = 0;
$sum += $_->join for @threads;
print "$sum $woken\n";
