#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# Many starts at once on one directory, by its name, through a symbolic link and a bind mount: on a new directory, on one
# whose daemon was killed, and while a daemon stops. Exactly one serves, and it has all that was acknowledged; the others
# end with 75, say in one line who has it, and change nothing.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Mount;
BEGIN { Hearth::Mount::private() }
use Hearth::Budget;
use Hearth::Daemon;
use Hearth::Ledger;
use Hearth::Process qw(program reap remove_dir run sanitizer scratch_dir slurp spawn tree_digest);
use Test::More;
use Time::HiRes qw(sleep time);

my $budget = Hearth::Budget->new(share => 0.05);
my $most = sanitizer() ? 8 : 50;

# The names of one directory: its own, a link, and a bind mount when there is one.
sub names_of
{
	my ($dir) = @_;
	mkdir $dir, 0700;
	symlink $dir, "$dir-link";
	my $bound = Hearth::Mount::mount('--bind', $dir);
	return ($dir, "$dir-link", "$dir/.", defined $bound ? $bound : ());
}

sub start_one
{
	my ($name, $err) = @_;
	my $port = Hearth::Daemon::free_port();
	my $pid = spawn([program('hearthd'), '-p', $port, '-l', '127.0.0.1', '-m', 64, '-t', 1, '-u', 'root', '--data-dir', $name],
		err => $err);
	return { pid => $pid, port => $port, err => $err, name => $name };
}

# Waits until all but one have ended. Notes the codes; returns those that live.
sub settle
{
	my ($starts, $patience) = @_;
	my $end = time + $patience;
	while (time < $end) {
		for my $s (grep { !defined $_->{code} } @$starts) {
			my $status = reap($s->{pid}, 0);
			$s->{code} = $status & 127 ? 128 + ($status & 127) : $status >> 8 if defined $status;
		}
		my @live = grep { !defined $_->{code} } @$starts;
		return @live if @live <= 1;
		sleep 0.005;
	}
	return grep { !defined $_->{code} } @$starts;
}

# Whether it answers, or has ended and has a code.
sub answers
{
	my ($s) = @_;
	my $end = time + 60;
	while (time < $end) {
		my $status = reap($s->{pid}, 0);
		$s->{code} = $status & 127 ? 128 + ($status & 127) : $status >> 8 if defined $status;
		return 0 if defined $status;
		return 1 if Hearth::Client->new(port => $s->{port}, quiet => 1);
		sleep 0.005;
	}
	return 1;
}

# Whether one that gave up did it properly.
sub gave_up
{
	my ($ledger, $what, $s) = @_;
	my $err = slurp($s->{err});
	return if $s->{code} == 75 && $err =~ /in use by process \d+/ && ($err =~ tr/\n//) == 1;
	$ledger->problem("$what: a start on $s->{name} ended with $s->{code}: $err");
	return;
}

# Serves the one that is left? Then the book goes on with it.
sub serves
{
	my ($ledger, $what, @live) = @_;
	return $ledger->problem("$what: " . @live . ' live') if @live != 1;
	my $daemon = $ledger->{daemon};
	@$daemon{qw(pid port errors err_start)} = ($live[0]{pid}, $live[0]{port}, $live[0]{err}, 0);
	my $status = $daemon->wait_ready;
	delete $daemon->{pid} if defined $status;
	return $ledger->problem("$what: the one that had it ended with $status: " . $daemon->errors) if defined $status;
	$ledger->verify($what);
	$ledger->any('k', 20) for 1 .. 5;
	return;
}

sub one
{
	my ($index) = @_;
	my $dir = scratch_dir() . '/data';
	my @names = names_of($dir);
	my $daemon = Hearth::Daemon->prepare(dir => $dir);
	my $ledger = Hearth::Ledger->new(daemon => $daemon);
	for my $round (1 .. 4) {
		my $n = 2 + int rand $most - 1;
		my $stopping = $daemon->{pid} && rand() < 0.5;
		my $what = "case $index, round $round: $n starts" . ($stopping ? ' during a stop' : '');
		my $old = $daemon->{pid};
		if ($old && !$stopping) {
			$daemon->kill9;
			$budget->image($dir);
		}
		kill 'TERM', $old if $stopping;
		my @starts;
		for (1 .. $n) {
			push @starts, start_one($names[rand @names], "$dir-$round-$_");
			sleep rand 0.01 if $stopping;
		}
		my @live = settle(\@starts, 60);
		$budget->case for 1 .. $n;
		if ($stopping) {
			my $code = $daemon->ended;
			$ledger->problem("$what: the one that stopped ended with $code") if $code;
			# All may have come too early, the last of them may be about to say so; then the next one must get it.
			@live = grep { answers($_) } @live;
			@live = settle([@starts, start_one($dir, "$dir-$round-last")], 60) unless @live;
		}
		gave_up($ledger, $what, $_) for grep { defined $_->{code} } @starts;
		serves($ledger, $what, @live);
		last if $ledger->problems;
	}
	refused_while_running($ledger, $index, $dir, \@names) unless $ledger->problems;
	$daemon->stop if $daemon->{pid};
	$budget->failed($ledger->problems, $dir) if $ledger->problems;
	Hearth::Mount::unmount($names[3]) if $names[3];
	remove_dir($dir);
	return;
}

# With its daemon at rest, a refused start changes not one byte.
sub refused_while_running
{
	my ($ledger, $index, $dir, $names) = @_;
	kill 'STOP', $ledger->{daemon}->pid;
	my $before = tree_digest($dir);
	my $s = start_one($names->[rand @$names], "$dir-refused");
	my $status = reap($s->{pid}, 30);
	$budget->case;
	$s->{code} = defined $status ? $status >> 8 : 'nothing';
	gave_up($ledger, "case $index: refused", $s);
	$ledger->problem("case $index: a refused start changed something") if tree_digest($dir) ne $before;
	kill 'CONT', $ledger->{daemon}->pid;
	return;
}

my $done = $budget->each_case(1000, \&one);
note "$done directories";
$budget->report('many starts');
done_testing();
