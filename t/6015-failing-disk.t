#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# A disk that fails, made by strace. A file whose write or fsync failed is never touched again; the log goes on elsewhere;
# no success is answered that a kill could take back; reads and deletes go on; when the disk is well the daemon gets well
# by itself. Killed at any stage it comes back with what was acknowledged, or, once deletes could not be logged, empty:
# never with what was deleted.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Failing qw($writes $syncs $changes break_calls mend logs);
use Hearth::Process qw(sanitizer slurp wait_until);
use Test::More;

plan skip_all => 'needs strace' if sanitizer();

# What a command is answered on a connection of its own; '' when the connection is closed instead.
sub answer { my ($daemon, $command) = @_; return eval { $daemon->client->ask($command) } // ''; }
sub set { my ($daemon, $key, $value) = @_; return answer($daemon, "set $key 0 0 " . length($value) . "\r\n$value\r\n"); }
sub get { my ($daemon, $key) = @_; return $daemon->client->get($key); }
sub state { my ($daemon) = @_; return $daemon->client->stats('persist')->{state}; }
sub await_state
{
	my ($daemon, $what, @states) = @_;
	return wait_until("$what: state @states", sub { my $s = state($daemon); grep { $_ eq $s } @states }, 90);
}
sub started
{
	my (@args) = @_;
	my $daemon = Hearth::Daemon->start(args => ['-t', 2, '--snapshot-interval', 0, '--snapshot-log-ratio', 0, @args]);
	set($daemon, "k$_", "old$_") for 1 .. 10;
	return $daemon;
}

# ---- the file fails, the disk does not ----
for ([$writes, 'EIO', 'everysec'], [$writes, 'ENOSPC', 'os'], [$syncs, 'EIO', 'always'], [$syncs, 'EIO', 'everysec']) {
	my ($calls, $error, $policy) = @$_;
	my $what = ($calls eq $writes ? 'write' : 'sync') . " of one file fails with $error, --fsync $policy";
	my $daemon = started('--fsync', $policy);
	my $broken = break_calls($daemon, $calls, $error, logs(1, 1));
	my (%value, %maybe);
	for my $n (1 .. 5) {
		my $got = set($daemon, "k$n", "new$n");
		like($got, qr/^(?:STORED|SERVER_ERROR .*|)$/, "$what: an honest answer to set k$n");
		$got eq 'STORED' ? ($value{"k$n"} = "new$n") : ($maybe{"k$n"} = "new$n");
		$value{"k$n"} //= "old$n";
	}
	wait_until("$what: it has healed", sub { $daemon->client->stats('persist')->{heals} > 0 }, 30);
	await_state($daemon, $what, 'healthy');
	like(answer($daemon, "delete k10\r\n"), qr/^DELETED$/, "$what: healed by itself, a delete");
	is(set($daemon, 'k9', 'newer9'), 'STORED', "$what: and a set");
	like($daemon->errors, qr/cannot (?:write to|sync) the log: log-0000000001: .*; state reserve: .*\n(?s:.*)state healthy/,
		"$what: messages say so");
	mend($broken);
	# Calls that fail are marked; behind the first of them nothing may touch that file.
	my @calls = grep { m{log-0000000001>} && !/ENOSYS|resumed/ } split /\n/, slurp($broken->{trace});
	my ($first) = grep { $calls[$_] =~ /INJECTED/ } 0 .. $#calls;
	my @behind = defined $first ? @calls[$first + 1 .. $#calls] : ('no call failed');
	# On a full disk what was written before is synced once, as nothing says that it is lost.
	@behind = grep { !/^\S+\s+fdatasync\(/ || $_ =~ /INJECTED/ } @behind if $error eq 'ENOSPC';
	is(join("\n", @behind), '', "$what: the file is never touched again");
	$daemon->kill9;
	$daemon->up;
	my $items = $daemon->client->items('get ' . join ' ', map { "k$_" } 1 .. 10);
	my @lost = grep { my $i = $items->{$_}; !$i || ($i->{value} ne $value{$_} && $i->{value} ne ($maybe{$_} // '')) } keys %value;
	is("@lost", '', "$what: killed, what was acknowledged is there");
	is($items->{k9}{value}, 'newer9', "$what: and what came after");
	is($items->{k10}, undef, "$what: and the delete");
	is($daemon->stop, 0, "$what: stops in order");
}

# ---- no file of the log can be written, the manifest can ----
for my $stage ('stopped', 'untrusted', 'healed') {
	my $what = "no log can be written, killed when $stage";
	my $daemon = started();
	my $broken = break_calls($daemon, $writes, 'EIO', logs(1, 60));
	is(set($daemon, 'k1', 'new1'), '', "$what: who waits for a change is told nothing");
	await_state($daemon, $what, 'stopped');
	like(set($daemon, 'k2', 'new2'), qr/^SERVER_ERROR /, "$what: a change is refused");
	like(answer($daemon, "incr k3 1\r\n"), qr/^SERVER_ERROR /, "$what: an incr");
	like(answer($daemon, "touch k3 1000\r\n"), qr/^SERVER_ERROR /, "$what: a touch");
	is(get($daemon, 'k2'), 'old2', "$what: memory is untouched");
	is(get($daemon, 'k6'), 'old6', "$what: reads go on");
	is(get($daemon, 'k1'), undef, "$what: what is on no disk is not shown");
	my $persist = $daemon->client->stats('persist');
	is("$persist->{degraded} $persist->{on_disk_error}", 'yes refuse', "$what: stats persist");
	cmp_ok($persist->{refused_changes}, '>=', 3, "$what: counts what was refused");
	like($persist->{state_reason}, qr/cannot.write.to.the.log:.log-\d+:.Input\/output.error/, "$what: and tells why");
	if ($stage ne 'stopped') {
		is(answer($daemon, "delete k4\r\n"), 'DELETED', "$what: a delete is not");
		is(answer($daemon, "touch k5 -1\r\n"), 'TOUCHED', "$what: nor a touch into the past");
		is(get($daemon, 'k4'), undef, "$what: it is gone");
		is(state($daemon), 'untrusted', "$what: the files are marked");
		like(set($daemon, 'k2', 'new2'), qr/^SERVER_ERROR /, "$what: a change is still refused");
		is(get($daemon, 'k6'), 'old6', "$what: reads go on still");
		$daemon->client->put("set k6 0 0 4 noreply\r\nnew6\r\n")->ask("version\r\n");
		is(get($daemon, 'k6'), undef, "$what: refused without a reply, the old value goes");
	}
	if ($stage eq 'healed') {
		mend($broken);
		await_state($daemon, $what, 'healthy');
		is(set($daemon, 'k2', 'newest2'), 'STORED', "$what: a set");
	}
	$daemon->kill9;
	mend($broken) if $stage ne 'healed';
	$daemon->up;
	my $items = $daemon->client->items('get ' . join ' ', map { "k$_" } 1 .. 10);
	my @there = map { $items->{"k$_"}{value} // '-' } 2 .. 10;
	is("@there", $stage eq 'stopped' ? join(' ', map { "old$_" } 2 .. 10)
		: $stage eq 'untrusted' ? join(' ', ('-') x 9) : "newest2 old3 - - - old7 old8 old9 old10", "$what: what is there");
	like($daemon->errors, qr/marked as not to be trusted/, "$what: and it says why") if $stage eq 'untrusted';
	is(set($daemon, 'k4', 'again'), 'STORED', "$what: it goes on");
	is($daemon->crash->client->get('k4'), 'again', "$what: also after a second kill");
	is($daemon->stop, 0, "$what: stops in order");
}

# ---- nothing can be written ----
{
	my $what = 'nothing can be written';
	my $daemon = started('--fsync', 'always');
	my $broken = break_calls($daemon, $writes, 'EIO', logs(1, 60), 'MANIFEST.tmp');
	set($daemon, 'k1', 'new1');
	await_state($daemon, $what, 'stopped');
	like(answer($daemon, "delete k4\r\n"), qr/^(?:SERVER_ERROR .*|)$/, "$what: the first delete is not confirmed");
	await_state($daemon, $what, 'lost');
	like(answer($daemon, "delete k5\r\n"), qr/^SERVER_ERROR /, "$what: nor is a second");
	like(answer($daemon, "flush_all 1000\r\n"), qr/^SERVER_ERROR /, "$what: nor a flush");
	is(get($daemon, 'k4'), undef, "$what: but the key is gone");
	is(get($daemon, 'k5'), undef, "$what: each");
	my $client = $daemon->client;
	$client->put("delete k6 noreply\r\n");
	is($client->line, undef, "$what: without a reply the connection ends");
	is(get($daemon, 'k7'), 'old7', "$what: reads go on");
	mend($broken);
	await_state($daemon, $what, 'healthy');
	is(set($daemon, 'k2', 'new2'), 'STORED', "$what: healed");
	my $items = $daemon->crash->client->items('get ' . join ' ', map { "k$_" } 1 .. 10);
	is(join(' ', map { $items->{"k$_"}{value} // '-' } 2 .. 10), 'new2 old3 - - - old7 old8 old9 old10', "$what: and kept");
	$broken = break_calls($daemon, $writes, 'EIO', logs(1, 60), 'MANIFEST.tmp');
	set($daemon, 'k1', 'new1');
	await_state($daemon, $what, 'stopped');
	is($daemon->stop, 74, "$what: stopped so it exits 74");
	like($daemon->errors, qr/the log is whole/, "$what: and says how things are");
	mend($broken);
}

# ---- --on-disk-error serve ----
for my $killed ('serving', 'healed') {
	my $what = "--on-disk-error serve, killed when $killed";
	my $daemon = started('--on-disk-error', 'serve');
	my $broken = break_calls($daemon, $writes, 'EIO', logs(1, 60));
	set($daemon, 'k1', 'new1');
	await_state($daemon, $what, 'untrusted', 'healing');
	is(set($daemon, 'k2', 'new2'), 'STORED', "$what: a change goes on");
	is(get($daemon, 'k2'), 'new2', "$what: and is seen");
	is(answer($daemon, "delete k3\r\n"), 'DELETED', "$what: a delete");
	if ($killed eq 'healed') {
		mend($broken);
		await_state($daemon, $what, 'healthy');
	}
	$daemon->kill9;
	mend($broken) if $killed ne 'healed';
	$daemon->up;
	my $items = $daemon->client->items('get ' . join ' ', map { "k$_" } 2 .. 5);
	is(join(' ', map { $items->{"k$_"}{value} // '-' } 2 .. 5), $killed eq 'healed' ? 'new2 - old4 old5' : '- - - -',
		"$what: what is there");
	is($daemon->stop, 0, "$what: stops in order");
}
done_testing();
