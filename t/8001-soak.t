#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# Minutes of load with snapshots, flushes and rotation of the log: memory, descriptors and files stay bounded, and what
# is there at the end is what was written. In make check-long.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Load;
use Hearth::Process qw(long_run sanitizer slurp);
use List::Util qw(max sum0);
use Test::More;

plan skip_all => 'runs in make check-long' unless long_run();

my $seed = $ENV{HEARTH_SEED} // (time ^ $$ << 8) & 0x7fffffff;
my $daemon = Hearth::Daemon->start(args => ['-m', 64, '--snapshot-interval', 5, '--snapshot-log-ratio', 100]);
my $load = Hearth::Load->new(daemon => $daemon, seed => $seed, keys => 300);
my $pid = $daemon->pid;
my (@rss, @fds, @bytes);
$load->connect;
for my $round (1 .. 60) {
	last unless $load->run(3);
	$load->flush if $round % 7 == 0;
	kill 'USR2', $pid if $round % 5 == 0;
	last unless $load->checkpoint;
	push @rss, slurp("/proc/$pid/status") =~ /^VmRSS:\s+(\d+)/m ? $1 / 1024 : 0;
	push @fds, scalar(my @open = glob "/proc/$pid/fd/*");
	push @bytes, sum0(map { -s } glob $daemon->dir . '/*') / (1 << 20);
}
is($load->problems, '', "$load->{commands} commands, seed $seed");
is(scalar @rss, 60, 'sixty rounds');
cmp_ok(max(@rss[30 .. 59]), '<', max(@rss[5 .. 29]) + 10, sprintf 'memory does not grow: %d MB', max @rss) unless sanitizer();
cmp_ok(max(@fds[30 .. 59]), '<=', max(@fds[0 .. 29]) + 2, sprintf 'descriptors do not grow: %d', max @fds);
cmp_ok(max(@bytes), '<', 1000, sprintf 'files stay bounded: %d MB', max @bytes);
$daemon->kill9;
$load->drain;
$daemon->up;
ok($load->verify('at the end'), 'all of it is there after kill -9') or diag $load->problems;
is($daemon->stop, 0, 'stops in order');
done_testing();
