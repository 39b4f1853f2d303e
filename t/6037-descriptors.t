#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# Few descriptors (RLIMIT_NOFILE of 3 to 200): a start refuses with a documented code and one line, or it serves; and a storm
# of connections on a daemon that has no descriptor left costs nothing that was acknowledged: reads and changes of those that
# are connected go on, a snapshot (which needs files) is taken when connections have gone, and it stops in order.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Budget;
use Hearth::Client;
use Hearth::Daemon;
use Hearth::Ledger;
use Hearth::Process qw(remove_dir run sanitizer wait_until);
use Test::More;

my $budget = Hearth::Budget->new(share => 0.05);
my ($least, $most) = (3, 200);
my %seen = (refused => 0, served => 0, full => 0);

# As root, too, the limit must hold: without the capability to raise it.
my @bound = $> == 0 ? ('setpriv', '--bounding-set=-sys_resource', '--inh-caps=-sys_resource') : ();
my ($can) = run([@bound, 'true']);
@bound = () if $can;

sub snapshots { my ($daemon) = @_; return scalar grep { /snapshot-\d+$/ } glob $daemon->dir . '/snapshot-*'; }

# Opens connections until no more are served, or $n are.
sub storm
{
	my ($daemon, $n) = @_;
	my @clients;
	for (1 .. $n) {
		my $client = Hearth::Client->new($daemon->address, quiet => 1) // last;
		push @clients, $client;
		$client->put("version\r\n");
		last unless eval { $client->fill(0.3) };
	}
	return @clients;
}

sub serve
{
	my ($daemon, $ledger, $limit, $what) = @_;
	$ledger->any('k', 20) for 1 .. 10;
	my ($code) = run(['prlimit', '--pid', $daemon->pid, "--nofile=$limit:"]);
	die 'prlimit failed' if $code;
	my @clients = storm($daemon, 220);
	$seen{full}++ if @clients < 220;
	kill 'USR2', $daemon->pid if rand() < 0.5; # fails, or not
	for (1 .. 10) {
		my $how = $ledger->any('k', 20);
		$ledger->problem("$what: a change on an open connection was $how with " . @clients . ' connections') if $how ne 'acked';
	}
	$ledger->reads_on($what);
	$_->close for @clients;
	my $room = $limit >= 60;
	my $had = snapshots($daemon);
	my $taken = eval {
		wait_until('a snapshot', sub {
			kill 'USR2', $daemon->pid;
			select undef, undef, undef, 0.05;
			my $items = $ledger->read('k1');
			return snapshots($daemon) >= 1 && $items;
		}, $room ? 20 : 1);
	};
	$ledger->problem("$what: no snapshot though connections have gone: " . $daemon->errors) if $room && !$taken;
	return;
}

sub one
{
	my ($index) = @_;
	my $limit = $least + int $index / 2;
	my $from_start = $index % 2;
	my $what = "case $index: " . ($from_start ? 'started with' : 'given') . " $limit descriptors";
	my $daemon = Hearth::Daemon->prepare(args => ['-m', 64, '-t', 1, '-c', 1000, '--snapshot-interval', 0],
		prefix => $from_start ? [@bound, 'prlimit', "--nofile=$limit:$limit"] : []);
	my $ledger = Hearth::Ledger->new(daemon => $daemon);
	my $code = $daemon->try_up;
	$daemon->{prefix} = [];
	if (defined $code) {
		$seen{refused}++;
		my $err = $daemon->errors;
		my @lines = grep { !/^(?:\S+Z )?hearthd: (?:running as root|data directory |recovered )/ } split /\n/, $err;
		# With so few, the loader of shared objects itself fails: 127.
		$ledger->problem("$what: ended with $code: $err") unless $code == 71 || $code == 74 || $code == 69
		    || ($code == 127 && $limit < 6);
		$ledger->problem("$what: not one line: $err") if @lines != 1;
	} else {
		$seen{served}++;
		serve($daemon, $ledger, $limit, $what);
		my $end = rand() < 0.5 ? $daemon->stop : $daemon->kill9;
		$ledger->problem("$what: ended with $end: " . $daemon->errors) if $end && $end != 137
			&& !($end == 74 && $daemon->errors =~ /Too many open files/);
	}
	$budget->case($daemon->dir);
	$daemon->up;
	$ledger->verify("$what, started again");
	$daemon->kill9;
	$budget->failed($ledger->problems, $daemon->dir) if $ledger->problems;
	remove_dir($daemon->dir);
	return;
}

my $all = 2 * ($most - $least + 1);
my $done = $budget->each_case($all, \&one);
note "$done of $all limits: " . join ', ', map { "$seen{$_} $_" } sort keys %seen;
$budget->report('few descriptors');
done_testing();
