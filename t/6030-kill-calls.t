#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# kill -9 at every system call that changes files or answers: of the main thread (start, recovery, shutdown), the log
# thread, the sync thread (rotation, retirement, manifest) and the snapshot thread, under every fsync policy, from a new
# directory, from one that was stopped in order and from one that was killed before.
#
# strace counts `when=N` for each thread by itself, so each case looks at one thread: at the main one from exec on, at the
# others from the moment that they serve. A call that is killed does not happen; that the one before it did is the
# neighbouring case. A run without a kill counts the calls first. Hearth::Load judges what is found afterwards; a second
# crash right after recovery must find the same.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Budget;
use Hearth::Daemon;
use Hearth::Files qw(copy_dir);
use Hearth::Load;
use Hearth::Process qw(sanitizer scratch_dir slurp spawn reap remove_dir wait_until);
use Test::More;
use Time::HiRes qw(sleep time);

plan skip_all => 'needs strace' if sanitizer();

my $budget = Hearth::Budget->new(share => 0.3);
my @files = qw(openat mkdirat mkdir write writev pwrite64 pwritev fdatasync fsync sync_file_range fallocate ftruncate renameat
	renameat2 unlinkat linkat fchown fchmod flock close);
my %calls = (
	main => [@files, qw(listen bind)], log => \@files, sync => \@files, snapshot => \@files,
	'worker-0' => [qw(sendmsg sendto writev write)],
);
my @roles = sort keys %calls;

sub options { my ($policy) = @_; return ['-m', 64, '-t', 1, '--fsync', $policy, '--snapshot-interval', 0]; }

# A snapshot (it rotates first, and retires files afterwards); waits for it unless the daemon dies of it.
sub take_snapshot
{
	my ($daemon) = @_;
	my $dir = $daemon->dir;
	my %before = map { $_ => 1 } glob "$dir/snapshot-*";
	kill 'USR2', $daemon->pid;
	my $end = time + 30;
	while (time < $end && !ended_by_kill($daemon)) {
		return 1 if grep { /snapshot-\d+$/ && !$before{$_} } glob "$dir/snapshot-*";
		sleep 0.002;
	}
	return 0;
}

# Whether it is gone; remembers how.
sub ended_by_kill
{
	my ($daemon) = @_;
	return 1 if defined $daemon->{gone};
	my $status = reap($daemon->pid, 0);
	return 0 unless defined $status;
	$daemon->{gone} = $status & 127 ? 128 + ($status & 127) : $status >> 8;
	return 1;
}

# ---- where cases begin ----

sub make_base
{
	my ($how) = @_;
	my $daemon = Hearth::Daemon->prepare(args => options('always'));
	my $load = Hearth::Load->new(daemon => $daemon, seed => $budget->seed, clients => 2, keys => 12, window => 6, batch => 3,
		sizes => [0, 10, 100, 300, 4200], huge => 0.01);
	return { dir => undef, load => $load } if $how eq 'new';
	$daemon->up;
	for (1 .. 3) {
		$load->connect;
		$load->commands(40);
		take_snapshot($daemon) if $_ < 3;
	}
	$load->connect;
	$load->commands(10);
	$how eq 'stopped' ? $daemon->stop : $daemon->kill9;
	$load->drain;
	$_->{acked} = @{ $_->{sent} } for @{ $load->{writers} };
	return { dir => $daemon->dir, load => $load };
}
my %base = map { $_ => make_base($_) } qw(new stopped killed);

# ---- one run ----

# strace on one thread; inject: undef = only count.
sub tracer
{
	my ($trace, $call, $n) = @_;
	return ('strace', '-qq', '-o', $trace, '-e', 'signal=none',
		defined $n ? ('-e', "trace=$call", '-e', "inject=$call:signal=KILL:when=$n") : ('-e', "trace=$call"));
}

# The scenario with strace on the role's thread: start, commands, snapshot, commands, stop. Returns daemon, load, trace and
# how it ended.
sub scenario
{
	my ($policy, $from, $role, $call, $n) = @_;
	my $base = $base{$from};
	my $place = scratch_dir();
	my $trace = "$place/trace";
	my $daemon = Hearth::Daemon->prepare(dir => $base->{dir} ? copy_dir($base->{dir}) : "$place/data",
		args => options($policy));
	my $load = $base->{load}->copy($daemon);
	my $strace;
	if ($role eq 'main') {
		$daemon->{prefix} = [tracer($trace, $call, $n), '-D'];
		$daemon->{gone} = $daemon->try_up;
		$daemon->{prefix} = [];
	} else {
		$daemon->up;
		$strace = spawn([grep({ $_ ne '-qq' } tracer($trace, $call, $n)), '-p', $daemon->thread($role)], err => "$place/err");
		wait_until('strace to attach', sub { -e "$place/err" && slurp("$place/err") =~ /attached/ });
	}
	workload($daemon, $load) unless defined $daemon->{gone};
	my $code = delete($daemon->{gone}) // $daemon->ended;
	delete $daemon->{pid};
	reap($strace, 30) if $strace;
	$load->drain;
	return ($daemon, $load, $trace, $code);
}

sub workload
{
	my ($daemon, $load) = @_;
	# It may die between the answer to `version` and the connections.
	eval { $load->connect; 1 } && $load->commands(24) && take_snapshot($daemon) && $load->commands(12);
	kill 'TERM', $daemon->pid unless ended_by_kill($daemon);
	return;
}

# ---- the points ----

sub count_calls
{
	my ($policy, $from, $role) = @_;
	my ($daemon, $load, $trace, $code) = scenario($policy, $from, $role, join(',', @{ $calls{$role} }), undef);
	is($code, 0, "$policy, $from, $role: counted") or diag $daemon->errors;
	my %count;
	$count{$_}++ for map { /^(?:\d+ +)?(\w+)\(/ ? $1 : () } split /\n/, slurp($trace);
	return \%count;
}

my @points;
for my $policy (qw(always everysec os)) {
	for my $from (sort keys %base) {
		for my $role (@roles) {
			my $count = count_calls($policy, $from, $role);
			for my $call (sort keys %$count) {
				push @points, map { [$policy, $from, $role, $call, $_] } 1 .. $count->{$call};
			}
		}
	}
}
cmp_ok(scalar @points, '>', 500, scalar(@points) . ' places to kill at');

# ---- the cases ----

my ($reached, $again) = (0, 0);
sub one
{
	my ($index) = @_;
	my ($policy, $from, $role, $call, $n) = @{ $points[$index] };
	my $what = "case $index: --fsync $policy, $from directory, $role thread, $call number $n";
	my ($daemon, $load, $trace, $code) = scenario($policy, $from, $role, $call, $n);
	$reached++ if $code == 137;
	my $good = $code == 137 || $code == 0;
	$load->problem("$what: ended with $code: " . $daemon->errors) unless $good;
	$budget->case($daemon->dir);
	my $start = $daemon->try_up;
	if (defined $start) {
		$load->problem("$what: does not start: $start: " . $daemon->errors);
		return $budget->failed($load->problems, $daemon->dir);
	}
	$load->verify($what);
	if (rand() < 0.3) {
		$again++;
		$daemon->kill9;
		$budget->image($daemon->dir);
		$daemon->up;
		$load->verify("$what, recovered twice");
		$load->connect;
		$load->commands(10);
		$daemon->kill9;
		$load->drain;
		$budget->image($daemon->dir);
		$daemon->up;
		$load->verify("$what, third crash");
	}
	$budget->failed($load->problems, $daemon->dir) if $load->problems;
	$daemon->kill9;
	remove_dir($daemon->dir);
	return;
}
my $done = $budget->each_case(scalar @points, \&one);
cmp_ok($reached, '>', 0.8 * $done, "$done of " . @points . " places, $reached reached, $again of them crashed thrice");
$budget->report('kills at system calls');
done_testing();
