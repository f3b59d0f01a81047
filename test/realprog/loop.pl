# A Perl program with data structures, a child over a socket pair, and alarms. Ends on SIGTERM with PASS.
use strict;
use warnings;
use IO::Handle;
use Socket;

my ($stop, $ticks) = (0, 0);
$SIG{TERM} = sub { $stop = 1 };
$SIG{ALRM} = sub { $ticks++; alarm 1 };
socketpair(my $ours, my $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC) or die;
my $pid = fork;
if ($pid == 0) {
    $SIG{TERM} = 'IGNORE';
    close $ours;
    $theirs->autoflush(1);
    while (my $line = <$theirs>) { chomp $line; print $theirs $line * 2, "\n" }
    exit 0;
}
close $theirs;
$ours->autoflush(1);
$| = 1;
my %seen;
my $n = 0;
alarm 1;
print "READY\n";
while (!$stop) {
    print $ours "$n\n";
    my $answer = <$ours>;
    if ($answer != 2 * $n) { print "FAIL: $answer for $n\n"; exit 1 }
    $seen{$n} = "x" x ($n % 100);
    $n++;
    select undef, undef, undef, 0.002;
}
for my $i (0 .. $n - 1) {
    if (length $seen{$i} != $i % 100) { print "FAIL: entry $i\n"; exit 1 }
}
close $ours;
waitpid $pid, 0;
print "PASS\n";
