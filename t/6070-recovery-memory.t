#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# Recovery takes -m and a stated constant (src/README.md, Memory), whatever the files hold: more data than -m, values
# larger than -I, from the log and from a snapshot.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Process qw(sanitizer slurp wait_until);
use Test::More;

plan skip_all => 'a sanitizer has memory of its own' if sanitizer();

# MiB on top of -m: what the README states, and the program itself.
my $constant = 64;
my ($small, $large) = (64, 512);

sub peak
{
	my ($daemon) = @_;
	my ($kb) = slurp('/proc/' . $daemon->pid . '/status') =~ /^VmHWM:\s+(\d+)/m;
	return $kb / 1024;
}

sub options { return [@_, '-t', 2, '--snapshot-log-ratio', 0, '--fsync', 'os']; }

# Random bytes, so that nothing shrinks; the number in front tells one value from the next.
my $noise = join '', map { chr int rand 256 } 1 .. 4096;
sub value { my ($i, $size) = @_; return substr "$i:" . $noise x ($size / length($noise) + 1), 0, $size; }

my $daemon = Hearth::Daemon->start(args => options('-m', $large, '-I', '150m'));
my $client = $daemon->client;
my ($keys, $size) = (60_000, 4000);
for (my $i = 0; $i < $keys; $i += 500) {
	$client->put(join '', map { "set key-$_ 0 0 $size noreply\r\n" . value($_, $size) . "\r\n" } $i .. $i + 499);
}
is($client->set('huge', 'an older value'), 'STORED', 'a small value');
is($client->set('huge', value('huge', 120 << 20)), 'STORED', 'a value of 120 MiB over it');
is($client->set('last', 'one'), 'STORED', 'and one more');

sub check
{
	my ($what) = @_;
	my $c = $daemon->client;
	is($c->get('huge'), undef, "$what: the value that is too large is gone, and so is the older one");
	is($c->get('last'), 'one', "$what: what follows is there");
	my ($found, $wrong) = (0, 0);
	for my $i (grep { $_ % 10 == 0 } 0 .. $keys - 1) {
		my $got = $c->get("key-$i");
		$found++ if defined $got;
		$wrong++ if defined $got && $got ne value($i, $size);
	}
	is($wrong, 0, "$what: no value is wrong");
	cmp_ok($found, '>', $keys / 10 * 0.15, "$what: as much as fits is there ($found)");
	is($c->stats->{$_}, 0, "$what: $_ does not move") for qw(total_items cmd_set evictions);
	cmp_ok(peak($daemon), '<', $small + $constant, sprintf '%s: at most %.0f MiB', $what, peak($daemon));
	return;
}

$daemon->crash(args => options('-m', $large, '-I', '150m'));
cmp_ok(peak($daemon), '<', $large + 150 + $constant, sprintf 'all of it: at most %.0f MiB', peak($daemon));
is($daemon->client->get('huge'), value('huge', 120 << 20), 'the large value is whole');
$daemon->kill9;
$daemon->up(args => options('-m', $small, '-I', '1m'));
check('from the log');

# The same out of a snapshot.
$daemon->crash(args => options('-m', $large, '-I', '150m'));
kill 'USR2', $daemon->pid;
wait_until('a snapshot', sub { $daemon->client->stats('persist')->{snapshots} > 0 }, 60);
$daemon->crash(args => options('-m', $large, '-I', '150m'));
cmp_ok(peak($daemon), '<', $large + 2 * 150 + $constant, sprintf 'snapshot: at most %.0f MiB', peak($daemon));
is($daemon->client->get('huge'), value('huge', 120 << 20), 'the large value is whole');
$daemon->crash(args => options('-m', $small, '-I', '1m'));
check('from a snapshot');
is($daemon->stop, 0, 'stops in order');
done_testing();
