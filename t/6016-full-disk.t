#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# A disk that is really full: a small tmpfs. Changes are refused before it is quite full, reads and deletes go on, also
# through a kill and a start on the full disk; with room again it gets well by itself. Killed at each stage it comes back
# with all that was acknowledged and nothing of what was deleted; when the deletes have used up even the reserved room it
# comes back empty.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Process qw(program run scratch_dir wait_until);
use Test::More;

my @mounted;
END { local $?; system 'umount', $_ for @mounted; }

sub small_disk
{
	my ($size) = @_;
	my $dir = scratch_dir();
	system("mount -t tmpfs -o size=$size hearth-test $dir 2>/dev/null") == 0 or return undef;
	push @mounted, $dir;
	return $dir;
}
plan skip_all => 'may not mount a tmpfs' unless small_disk('1m');

# Another user of the disk: takes what is left of it, but for so many bytes.
sub fill_up
{
	my ($disk, $but) = @_;
	my (undef, $out) = run(['df', '--output=avail', '-B1', $disk]);
	my ($free) = $out =~ /(\d+)/;
	open my $f, '>>', "$disk/ballast" or die "$disk/ballast: $!";
	my $left = $free - $but;
	while ($left > 0) {
		my $n = syswrite $f, 'x' x ($left > 65536 ? 65536 : $left);
		last unless $n;
		$left -= $n;
	}
	close $f;
	return;
}

sub state { my ($daemon) = @_; return $daemon->client->stats('persist')->{state}; }
sub await_state
{
	my ($daemon, $what, @states) = @_;
	return wait_until("$what: state @states", sub { my $s = state($daemon); grep { $_ eq $s } @states }, 90);
}

# Everything in the model is there; nothing else of the keys that ever were.
sub holds
{
	my ($daemon, $model, $last, $what) = @_;
	my %found;
	for (my $n = 1; $n <= $last; $n += 50) {
		my $to = $n + 49 < $last ? $n + 49 : $last;
		my $items = $daemon->client->items('get ' . join ' ', map { "k$_" } $n .. $to);
		$found{$_} = $items->{$_}{value} for keys %$items;
	}
	my @missing = grep { !defined $found{$_} || $found{$_} ne $model->{$_} } sort keys %$model;
	my @ghosts = grep { !defined $model->{$_} } sort keys %found;
	is("@missing[0 .. ($#missing > 5 ? 5 : $#missing)]", '', "$what: all that was acknowledged is there");
	is("@ghosts[0 .. ($#ghosts > 5 ? 5 : $#ghosts)]", '', "$what: nothing that was deleted");
	return;
}

for my $policy ('everysec', 'always', 'os') {
	my $what = "--fsync $policy";
	my $disk = small_disk('28m');
	my @args = ('--fsync', $policy, '-t', 2, '-m', 32, '--snapshot-interval', 0, '--snapshot-log-ratio', 0);
	my $daemon = Hearth::Daemon->start(dir => "$disk/data", args => [@args]);
	my (%model, $refused);
	my $last = 0;
	my $client = $daemon->client;
	while (!$refused && $last < 2000) {
		my $key = 'k' . ++$last;
		my $value = "$key:" . 'v' x 20000;
		my $answer = eval { $client->set($key, $value) };
		if (!defined $answer) {
			$client = $daemon->client; # closed: nobody knows
			$daemon->client->ask("delete $key\r\n");
		} elsif ($answer eq 'STORED') {
			$model{$key} = $value;
		} else {
			like($answer, qr/^SERVER_ERROR /, "$what: full, a change is refused");
			$refused = 1;
		}
	}
	ok($refused, "$what: it was refused");
	cmp_ok(scalar(keys %model), '>', 200, "$what: not before there was little room");
	is(state($daemon), 'reserve', "$what: in the reserve");
	like($daemon->errors, qr/No space left on device; state reserve/, "$what: and a message");
	fill_up($disk, 0);
	for my $n (1 .. 60) {
		$daemon->client->ask("delete k$n\r\n") eq 'DELETED' or fail("$what: delete k$n");
		delete $model{"k$n"};
	}
	holds($daemon, \%model, $last, "$what: full");
	$daemon->crash;
	holds($daemon, \%model, $last, "$what: killed while full, started on the full disk");
	for my $n (61 .. 90) {
		my $answer = $daemon->client->ask("delete k$n\r\n");
		$answer eq 'DELETED' or fail("$what: delete k$n after a start on a full disk: $answer");
		delete $model{"k$n"};
	}
	$daemon->crash;
	holds($daemon, \%model, $last, "$what: killed and started again");
	unlink "$disk/ballast";
	# What is there is most of the disk: only when keys go there is room for a snapshot.
	for my $n (91 .. int $last * 9 / 10) {
		$daemon->client->ask("delete k$n\r\n");
		delete $model{"k$n"};
	}
	run([program('hearth'), 'snapshot', $daemon->dir]);
	await_state($daemon, $what, 'healthy');
	is($daemon->client->set('after', 'healed'), 'STORED', "$what: with room again it gets well by itself");
	holds($daemon, \%model, $last, "$what: healed");
	$daemon->crash;
	holds($daemon, \%model, $last, "$what: killed behind that");
	is($daemon->client->get('after'), 'healed', "$what: and what came after is there");
	is($daemon->stop, 0, "$what: stops in order");
}

# ---- the reserve is used up ----
for my $killed (0, 1) {
	my $what = $killed ? 'the reserve is used up, then killed' : 'the reserve is used up';
	my $disk = small_disk('48m');
	my @args = ('-t', 2, '-m', 32, '--snapshot-interval', 0, '--snapshot-log-ratio', 0);
	my $daemon = Hearth::Daemon->start(dir => "$disk/data", args => [@args]);
	my $n = 60000;
	my $key = sub { return sprintf '%0240d', $_[0] };
	my $client = $daemon->client;
	for (my $i = 0; $i < $n; $i += 1000) {
		$client->put(join '', map { my $k = $key->($i + $_); "set $k 0 0 4 noreply\r\nold!\r\n" } 1 .. 1000);
	}
	is($client->set('last', 'one'), 'STORED', "$what: filled");
	fill_up($disk, 0);
	wait_until("$what: refused", sub { $client->set('last', 'x' x 100000) ne 'STORED' }, 60);
	my $deleted = 0;
	while ($deleted < $n && state($daemon) =~ /^(?:healthy|reserve|stopped)$/) {
		my @keys = map { $deleted + $_ } 1 .. 1000;
		$client->put(join '', map { 'delete ' . $key->($_) . "\r\n" } @keys);
		for (@keys) {
			my $line = $client->line;
			defined $line && $line =~ /^(?:DELETED|NOT_FOUND)$/ or do { $client = $daemon->client; last };
		}
		$deleted += 1000;
	}
	is(state($daemon), 'untrusted', "$what: deletes go on without a log");
	is($daemon->client->ask('delete ' . $key->(59999) . "\r\n"), 'DELETED', "$what: one more");
	is($daemon->client->get($key->(60000)), 'old!', "$what: reads go on");
	if ($killed) {
		$daemon->crash;
		like($daemon->errors, qr/marked as not to be trusted/, "$what: it says why it begins empty");
		is($daemon->client->get($key->($_)), undef, "$what: k$_ does not come back") for 1, 59999, 60000;
	}
	unlink "$disk/ballast";
	await_state($daemon, $what, 'healthy');
	is($daemon->client->set('after', 'healed'), 'STORED', "$what: well again");
	$daemon->crash;
	is($daemon->client->get('after'), 'healed', "$what: killed, what came after is there");
	is($daemon->client->get($key->($_)), undef, "$what: k$_ is gone") for 1, 59999;
	is($daemon->client->get($key->(60000)), $killed ? undef : 'old!', "$what: the last");
	is($daemon->stop, 0, "$what: stops in order");
}
done_testing();
