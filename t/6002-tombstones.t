#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# What a command that misses or fails leaves in the log, asked for with and without noreply. With a name as argument, that
# test alone: t/traps/rules takes the rules out.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Process qw(program run);
use JSON::PP;
use Test::More;

my ($only) = @ARGV;
my @still = ('--snapshot-interval', 0, '--snapshot-log-ratio', 0, '-t', 1);

sub trap
{
	my ($name, $code) = @_;
	subtest($name, sub { eval { $code->(); 1 } or fail("it dies: $@"); done_testing(); }) if !defined $only || $only eq $name;
	return;
}

# The operations on a key that the log of a killed daemon holds, in order.
sub logged
{
	my ($daemon, $key) = @_;
	my ($code, $out, $err) = run([program('hearth'), 'dump', '--json', '--key', $key, $daemon->dir]);
	return "dump: $code $err" if $code > 1;
	return join ' ', grep { $_ ne 'now' } map { $_->{op} // () } map { decode_json($_) } grep { /^\{/ } split /\n/, $out;
}

# Each mutating command on a key of its own that is not there.
my %missing = (
	delete => "delete %s%s\r\n",
	replace => "replace %s 0 0 1%s\r\nx\r\n",
	append => "append %s 0 0 1%s\r\nx\r\n",
	prepend => "prepend %s 0 0 1%s\r\nx\r\n",
	cas => "cas %s 0 0 1 77%s\r\nx\r\n",
	incr => "incr %s 1%s\r\n",
	decr => "decr %s 1%s\r\n",
	touch => "touch %s -1%s\r\n",
);

trap('tombstones of commands that miss', sub {
	my $daemon = Hearth::Daemon->start(args => [@still]);
	my $c = $daemon->client;
	for my $command (sort keys %missing) {
		for my $noreply ('', ' noreply') {
			$c->put(sprintf $missing{$command}, $command . ($noreply ? '-quiet' : ''), $noreply);
			like($c->line, qr/^NOT_/, "$command misses") unless $noreply;
		}
	}
	is($c->ask("gat -1 gat\r\n"), 'END', 'gat misses');
	is($c->ask("get nothing\r\n"), 'END', 'a get misses');
	is($c->ask("touch later 100\r\n"), 'NOT_FOUND', 'a touch misses that would not have removed anything');
	is($c->ask("add add 0 0 1 noreply\r\nx\r\nversion\r\n") =~ /^VERSION/, 1, 'all are done');
	$daemon->kill9;
	for my $command (sort keys %missing, 'gat') {
		is(logged($daemon, $command), 'delete', "$command leaves a tombstone");
		is(logged($daemon, "$command-quiet"), 'delete', "$command noreply too") if $command ne 'gat';
	}
	is(logged($daemon, $_), '', "$_: no record") for 'nothing', 'later';
	is(logged($daemon, 'add'), 'set', 'an add is a set');
});

# The value is announced and too large: before it has come, and in a connection's buffer.
trap('a set that is too large takes the old value with it', sub {
	my $daemon = Hearth::Daemon->start(args => [@still, '-I', '100k']);
	my $c = $daemon->client;
	for my $noreply ('', ' noreply') {
		my $key = $noreply ? 'quiet' : 'told';
		$c->set($key, 'old');
		$c->put("set $key 0 0 200000$noreply\r\n" . 'x' x 200000 . "\r\n");
		is($c->line, 'SERVER_ERROR object too large for cache', 'refused') unless $noreply;
		is($c->get($key), undef, "$key: gone");
	}
	is($c->ask("add kept 0 0 3\r\nold\r\n"), 'STORED', 'an add');
	$c->put("add kept 0 0 200000\r\n" . 'x' x 200000 . "\r\n");
	like($c->line, qr/^SERVER_ERROR/, 'an add that is too large');
	is($c->get('kept'), 'old', 'changes nothing');
	# Evicted long ago, as far as memory knows: the tombstone is written all the same.
	$c->put("set evicted 0 0 200000 noreply\r\n" . 'x' x 200000 . "\r\n");
	is($c->set('behind', 1), 'STORED', 'a change behind them');
	$daemon->kill9;
	is(logged($daemon, $_), 'set delete', "$_: the log says so") for 'told', 'quiet';
	is(logged($daemon, 'evicted'), 'delete', 'also of a key that memory does not hold');
});

trap('a set without memory takes the old value with it', sub {
	my $daemon = Hearth::Daemon->start(args => [@still, '-m', 8, '-M', '-I', '1m']);
	my $c = $daemon->client;
	$c->set('k', 'old');
	my ($n, $answer) = (0, '');
	$n++ while $n < 5000 && ($answer = $c->set("fill$n", 'x' x 50000)) eq 'STORED';
	is($answer, 'SERVER_ERROR out of memory storing object', 'memory is full');
	$n = 0;
	$n++ while $n < 5000 && ($answer = $c->set("small$n", 'x' x 1000)) eq 'STORED';
	is($c->set('k', 'x' x 50000), 'SERVER_ERROR out of memory storing object', 'a set finds no memory');
	is($c->get('k'), undef, 'and takes the old value with it');
	$daemon->kill9;
	is(logged($daemon, 'k'), 'set delete', 'the log says so');
});
done_testing();
