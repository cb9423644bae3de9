# SPDX-License-Identifier: MIT OR Apache-2.0
# Threads as Perl has them, an interpreter each; the output is the same at every
# run, so two runs can be compared.
use strict;
use warnings;
use threads ("yield", "exit" => "threads_only", "stack_size" => 256 * 1024);
use threads::shared;
use Thread::Queue;
use Thread::Semaphore;
use IO::Handle;
use IO::Select;
use IO::Socket::INET;
use POSIX qw(:sys_wait_h _exit);
use Socket;
use Time::HiRes qw(sleep time alarm);

STDOUT->autoflush;
use constant PATIENCE => 30;

# As many threads that call it with their number; what they return.
sub all {
    my ($n, $sub) = @_;
    return map { $_->join } map { threads->create({ context => "scalar" }, $sub, $_) } 0 .. $n - 1;
}

sub sum { my $sum = 0; $sum += $_ for @_; return $sum }

sub wait_for {
    my ($what, $met) = @_;
    my $end = time + PATIENCE;
    until ($met->()) {
        die "$what has not come" if time > $end;
        sleep 0.001;
    }
}

sub queues {
    my ($jobs, $results) = (Thread::Queue->new, Thread::Queue->new);
    my @workers = map {
        threads->create(sub {
            while (defined(my $job = $jobs->dequeue)) {
                $results->enqueue([$job, $job * $job]);
            }
        })
    } 1 .. 10;
    $jobs->enqueue($_) for 0 .. 799;
    $jobs->end;
    $_->join for @workers;
    my @found = sort { $a->[0] <=> $b->[0] } map { $results->dequeue } 1 .. 800;
    print "queues: ", join(",", map { $_->[1] } @found[0, 7, 799]), " ", $results->pending, "\n";
    print "queues: ", defined $results->dequeue_timed(0.02) ? "some" : "nothing", "\n";
    eval { $jobs->enqueue(1) };
    print "queues: ", $@ =~ /(.*?) at /, "\n";
    print "queues: ", defined $results->dequeue_nb ? "some" : "nothing", "\n";
}

sub locks {
    my ($count, $most, $inside) = (0, 0, 0);
    my $turn : shared = 0;
    share($_) for $count, $most, $inside;
    my $gate = Thread::Semaphore->new(3);
    all(12, sub {
        for my $k (1 .. 20) {
            {
                lock $count;
                my $before = $count;
                threads->yield if $k % 10 == 0;
                $count = $before + 1;
            }
            $gate->down;
            { lock $inside; $inside++; $most = $inside if $inside > $most }
            threads->yield;
            { lock $inside; $inside-- }
            $gate->up;
        }
    });
    print "locks: $count $inside ", $most <= 3, " ", $gate->down_nb(3), " ", $gate->down_nb ? "in" : "full", "\n";
    print "locks: ", $gate->down_timed(1) ? "in" : "late", "\n";
    my @order = all(15, sub {
        my $me = shift;
        lock $turn;
        cond_wait($turn) until $turn == $me;
        $turn++;
        cond_broadcast($turn);
        return $turn;
    });
    print "locks: @order[0, 14]\n";
    {
        lock $turn;
        my $due = time + 0.05;
        my $told = 1;
        $told = cond_timedwait($turn, $due) while $told;
        print "locks: nobody tells, ", time >= $due, "\n";
    }
    # A variable to be told of, and another for its lock.
    my $cond : shared = 0;
    my $guard : shared = 0;
    my $two = threads->create(sub { lock $guard; cond_wait($cond, $guard) until $guard; $guard });
    { lock $guard; $guard = 5 }
    wait_for("a waiter", sub { { no warnings "threads"; lock $cond; cond_signal($cond) } !$two->is_running });
    print "locks: ", $two->join, "\n";
}

sub values_of {
    my @list = threads->create({ context => "list" }, sub { return (1, [2, { three => 3 }], "four") })->join;
    print "values: $list[0] $list[1][1]{three} $list[2] ", scalar(@list), "\n";
    my %shared : shared = (list => shared_clone([1 .. 5]));
    all(10, sub { my $i = shift; lock %shared; push @{ $shared{list} }, $i; $shared{"k$i"} = $i });
    print "values: ", sum(@{ $shared{list} }), " ", scalar(keys %shared), "\n";
    my $private = 1;
    my @own = all(10, sub { $private += shift; threads->yield; $private });
    print "values: @own, $private\n";
    my $quiet = threads->create(sub { no warnings "threads"; die { code => 5 } });
    $quiet->join;
    print "values: ", $quiet->error->{code}, "\n";
    my $ends = threads->create(sub { eval { threads->exit(3) }; "never" });
    print "values: ", defined $ends->join ? "some" : "nothing", "\n";
    my $detached : shared = 0;
    threads->create(sub { sleep 0.002; lock $detached; $detached = 1 })->detach for 1 .. 5;
    wait_for("the detached", sub { lock $detached; $detached });
    my $self = threads->create(sub { threads->self == threads->object(threads->tid) });
    print "values: ", $self->join, " ", threads->tid, " ", defined threads->object(9999) ? 1 : 0, "\n";
    print "values: ", threads->create({ stack_size => 1 << 20 }, sub { threads->self->get_stack_size })->join, "\n";
}

sub signals {
    # Perl's own, from thread to thread, are taken between two operations.
    my $told = Thread::Queue->new;
    my $killed = threads->create(sub {
        $SIG{KILL} = sub { $told->enqueue("told"); threads->exit };
        $told->enqueue("begun");
        sleep 0.001 while 1;
    });
    $told->dequeue;
    $killed->kill("KILL")->join;
    print "signals: ", $told->dequeue, " ", $killed->is_running ? 1 : 0, "\n";
    my $usr = 0;
    local $SIG{USR1} = sub { $usr++ };
    threads->create(sub { kill USR1 => $$; 1 })->join;
    wait_for("a signal", sub { $usr });
    print "signals: $usr\n";
    my $late = eval {
        local $SIG{ALRM} = sub { die "late\n" };
        alarm 0.02;
        my $none = Thread::Queue->new;
        sleep PATIENCE;
        1;
    };
    print "signals: ", $late ? "slept" : $@;
    pipe my $read, my $write or die;
    eval {
        local $SIG{ALRM} = sub { die "nothing to read\n" };
        alarm 0.02;
        <$read>;
    };
    print "signals: $@";
}

sub processes {
    my @seen = all(15, sub {
        my $i = shift;
        if ($i % 5 == 0) { my $out = `echo $i; exit $i`; chomp $out; return "$out " . ($? >> 8) }
        if ($i % 5 == 1) { return system("sh", "-c", "exit $i") >> 8 }
        if ($i % 5 == 2) {
            defined(my $pid = fork) or die;
            _exit($i + 20) unless $pid;
            waitpid $pid, 0;
            return "fork " . ($? >> 8);
        }
        if ($i % 5 == 3) {
            open my $pipe, "-|", "sh", "-c", "cat /dev/zero | head -c 100000; exit 3" or die;
            local $/;
            my $length = length <$pipe>;
            close $pipe;
            return "$length " . ($? >> 8);
        }
        defined(my $pid = fork) or die;
        exec "sleep", "60" unless $pid;
        kill TERM => $pid;
        waitpid $pid, 0;
        return "signal $?";
    });
    print "processes: ", join(", ", @seen), "\n";
    # A child has its caller alone, and makes threads of its own.
    my $child = threads->create(sub {
        defined(my $pid = fork) or die;
        _exit(sum(all(5, sub { sleep 0.001; shift }))) unless $pid;
        waitpid $pid, 0;
        return $? >> 8;
    });
    print "processes: ", $child->join, " ", waitpid(-1, WNOHANG), "\n";
}

sub sockets {
    my $server = IO::Socket::INET->new(Listen => 100, LocalAddr => "127.0.0.1") or die;
    my $port = $server->sockport;
    my $serving = threads->create(sub {
        for (1 .. 20) {
            my $peer = $server->accept or die;
            threads->create(sub { print $peer uc while <$peer>; close $peer })->detach;
        }
    });
    my @right = all(20, sub {
        my $i = shift;
        my $socket = IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => $port) or die;
        my $right = 0;
        for my $k (1 .. 10) {
            print $socket "client $i $k\n";
            $socket->flush;
            $right++ if <$socket> eq "CLIENT $i $k\n";
        }
        return $right;
    });
    $serving->join;
    print "sockets: ", sum(@right), "\n";
    socketpair my $one, my $other, AF_UNIX, SOCK_STREAM, 0 or die;
    my $reads = threads->create(sub { sysread $other, my $bytes, 100; $bytes });
    syswrite $one, "bytes";
    print "sockets: ", $reads->join, " ", scalar(IO::Select->new($one)->can_read(0.01)) || 0, "\n";
    my $udp = IO::Socket::INET->new(Proto => "udp", LocalAddr => "127.0.0.1") or die;
    my $to = $udp->sockport;
    my $sends = threads->create(sub {
        IO::Socket::INET->new(Proto => "udp", PeerAddr => "127.0.0.1", PeerPort => $to)->send("datagram");
    });
    $udp->recv(my $datagram, 100);
    print "sockets: $datagram ", $sends->join, "\n";
    print "sockets: ", join(" ", all(5, sub { join ".", unpack "C4", gethostbyname "localhost" })), "\n";
}

queues;
locks;
values_of;
signals;
processes;
sockets;
# Some are left asleep, and it ends by one that is not the main thread.
threads->create(sub { sleep PATIENCE })->detach for 1 .. 10;
threads->create(sub { close STDERR; threads->set_thread_exit_only(0); exit 7 });
sleep PATIENCE;
