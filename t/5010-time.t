#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# Expiry, touch and flush_all against a clock that the test moves: nothing here sleeps for a second. The rules hold
# with a data directory and without, and the same is true after a kill and a restart.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Test::More;

my $month = 60 * 60 * 24 * 30;

# Which of the keys are there, as one string.
sub there
{
	my ($daemon, @keys) = @_;
	my $items = $daemon->client->items("get @keys");
	return join ' ', grep { $items->{$_} } @keys;
}

sub expiry
{
	my ($daemon, $what, $kept) = @_;
	my $c = $daemon->client;
	my $t0 = $c->stats->{time};
	is($c->set('never', 1), 'STORED', "$what: without expiry");
	is($c->set('e100', 1, exptime => 100), 'STORED', 'in 100 s');
	is($c->set('month', 1, exptime => $month), 'STORED', 'in 30 days');
	is($c->set('absolute', 1, exptime => $t0 + 500), 'STORED', 'at a time');
	is($c->set('past', 1, exptime => $month + 1), 'STORED', 'at a time in 1970');
	is($c->set('negative', 1, exptime => -1), 'STORED', 'at once');
	is($c->set('far', 1, exptime => 4102444800), 'STORED', 'in 2100: no 32-bit time');
	is($c->set('touched', 1, exptime => 100), 'STORED', 'in 100 s, then touched');
	is($c->ask("touch touched 1000\r\n"), 'TOUCHED', 'touch gives it 1000 s');
	is($c->set('shorter', 1, exptime => 1000), 'STORED', 'in 1000 s, then touched');
	is($c->ask("touch shorter 50\r\n"), 'TOUCHED', 'touch leaves it 50 s');
	is($c->set('gat', 5, exptime => 100), 'STORED', 'in 100 s, then gat');
	is($c->items('gat 1000 gat')->{gat}{value}, 5, 'gat gives it 1000 s and the value');
	is($c->set('counter', 5, exptime => 100), 'STORED', 'a counter of 100 s');
	is($c->ask("incr counter 1\r\n"), 6, 'incr keeps its time');
	is($c->set('appended', 5, exptime => 100), 'STORED', 'a text of 100 s');
	is($c->store('append', 'appended', 'x', exptime => 9999), 'STORED', 'append keeps its time');
	is($c->set('gone', 1), 'STORED', 'touch into the past');
	is($c->ask("touch gone -1\r\n"), 'TOUCHED', 'is a hit');
	is($c->set('last', 7), 'STORED', 'gat into the past');
	is($c->items('gat -1 last')->{last}{value}, 7, 'returns the value one last time');

	my @all = qw(never e100 month absolute past negative far touched shorter gat counter appended gone last);
	is(there($daemon, @all), 'never e100 month absolute far touched shorter gat counter appended', 'now');
	my $again = sub {
		my ($expected, $when) = @_;
		is(there($daemon, @all), $expected, $when);
		return unless $kept;
		$daemon->crash;
		is(there($daemon, @all), $expected, "$when, after kill -9");
	};
	$daemon->jump(75);
	$again->('never e100 month absolute far touched gat counter appended', 'after 75 s');
	$daemon->jump(50);
	$again->('never month absolute far touched gat', 'after 125 s');
	$daemon->jump(400);
	$again->('never month far touched gat', 'after 525 s');
	$daemon->jump(500);
	$again->('never month far', 'after 1025 s');
	$daemon->jump($month);
	$again->('never far', 'after 30 days more');
	$daemon->client->ask("delete never\r\n");
	return;
}

sub flushing
{
	my ($daemon, $what, $kept) = @_;
	my $c = $daemon->client;
	$c->set($_, 1) for qw(a b);
	is($c->ask("flush_all\r\n"), 'OK', "$what: flush_all");
	$c->set('b', 2);
	is(there($daemon, qw(a b)), 'b', 'what is stored in the same second lives');

	is($c->ask("flush_all 100\r\n"), 'OK', 'a delayed one');
	$c->set('a', 1);
	$daemon->jump(50);
	is(there($daemon, qw(a b)), 'a b', 'is not yet due');
	if ($kept) {
		$daemon->crash;
		$c = $daemon->client;
		is(there($daemon, qw(a b)), 'a b', 'nor after kill -9');
	}
	$daemon->jump(60);
	$c->get('a') for 1 .. 2;
	is(there($daemon, qw(a b)), '', 'then it is, for all that came before');
	$c->set('a', 3);
	is(there($daemon, qw(a b)), 'a', 'and for nothing that comes behind it');

	$c->ask("flush_all 100\r\n");
	is($c->ask("flush_all 1000\r\n"), 'OK', 'a later one takes the slot');
	$daemon->jump(200);
	is(there($daemon, 'a'), 'a', 'of the first');
	is($c->ask("flush_all 0\r\n"), 'OK', 'one at once');
	$c->set('a', 4);
	$daemon->jump(2000);
	is(there($daemon, 'a'), 'a', 'empties the slot');
	if ($kept) {
		$c->ask("flush_all 300\r\n");
		$daemon->kill9;
		$daemon->up;
		$daemon->jump(400);
		is(there($daemon, 'a'), '', 'a delayed one fires after a restart');
		$daemon->client->set('a', 5);
		$daemon->crash;
		is(there($daemon, 'a'), 'a', 'once');
	}
	return;
}

for my $kept (0, 1) {
	my $what = $kept ? 'with a data directory' : 'without';
	my $daemon = Hearth::Daemon->start($kept ? () : (dir => 'none'));
	expiry($daemon, $what, $kept);
	flushing($daemon, $what, $kept);
	is($daemon->stop, 0, 'stops in order');
}
my $daemon = Hearth::Daemon->start(dir => 'none', args => ['-F']);
is($daemon->client->ask("flush_all\r\n"), 'CLIENT_ERROR flush_all not allowed', '-F');
my ($code, $messages) = Hearth::Daemon->refused('--no-such-option');
is($code, 64, 'an unknown option');
done_testing();
