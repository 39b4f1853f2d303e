#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# --snapshot-rate: a snapshot takes at least the time its bytes are allowed; eviction in a hurry lifts the limit instead of
# making it fail; killed in the middle, nothing is lost.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Process qw(program run scratch_dir slurp spawn reap wait_until);
use Hearth::Screen;
use JSON::PP;
use Test::More;
use Time::HiRes qw(time);

my @quiet = ('--snapshot-interval', 0, '--snapshot-log-ratio', 0);
srand 7;

# Bytes that zstd cannot shorten.
sub noise { my ($len) = @_; return join '', map { pack 'L', rand 2**32 } 1 .. $len / 4; }
my $noise = noise(4 << 20);

# Sets so many keys of 4000 bytes, without asking for answers.
sub fill
{
	my ($daemon, $name, $n) = @_;
	my $c = $daemon->client;
	my $value;
	for my $i (1 .. $n) {
		$value = substr $noise, ($i * 4000) % ((4 << 20) - 4000), 4000;
		$c->put("set $name$i 0 0 4000 noreply\r\n$value\r\n");
	}
	$c->ask("version\r\n");
	return $value;
}

my $daemon = Hearth::Daemon->start(args => ['-m', 64, '--snapshot-rate', 2, @quiet]);
my $last = fill($daemon, 'k', 1024);
my ($code, $out, $err) = run([program('hearth'), 'snapshot', $daemon->dir], seconds => 60);
is($code, 0, 'a snapshot at 2 MiB a second') or diag $err;
is($err, '', 'of which nothing is shown where no terminal is');
my $stats = $daemon->client->stats('persist');
my $least = ($stats->{last_snapshot_bytes} - (1 << 20)) / (2 << 20) * 1e6;
cmp_ok($stats->{last_snapshot_bytes}, '>', 3 << 20, 'of some size');
cmp_ok($stats->{last_snapshot_us}, '>', $least, 'takes at least its time');

# Killed while it waits.
my $pid = spawn([program('hearth'), 'snapshot', $daemon->dir]);
wait_until('one runs', sub { $daemon->client->stats('persist')->{snapshot_running} eq 'yes' });
$daemon->kill9;
reap($pid, 30);
$daemon->up(args => ['-m', 48, '--snapshot-rate', 1, @quiet]);
is($daemon->client->stats->{curr_items}, 1024, 'killed while it waited: all items are there');
is($daemon->client->get('k1024'), $last, 'with their values');

# On a terminal a line says how far it is, behind one that was under way already, too; data goes elsewhere.
{
	my $file = scratch_dir() . '/out';
	my $before = $daemon->client->stats('persist')->{snapshots};
	kill 'USR2', $daemon->pid;
	wait_until('one runs', sub { $daemon->client->stats('persist')->{snapshot_written_items} > 200 });
	my $s = Hearth::Screen->run(['sh', '-c', 'exec "$0" "$@" > ' . $file, program('hearth'), 'snapshot', '--json', $daemon->dir]);
	is($s->ended(60), 0, 'a snapshot on a terminal');
	is($daemon->client->stats('persist')->{snapshots}, $before + 2, 'behind the one that was being written');
	is($s->text =~ s/\s+//r, '', 'of what was shown nothing is left');
	my @shown = $s->{raw} =~ m{snapshot \[#*-*\] (\d+) %, \d+ items, \d+ items/s, \S+(?: s| min| h)? left\e\[K\r}g;
	cmp_ok(scalar @shown, '>', 3, 'a bar, the rate and the time left');
	ok((grep { $shown[$_] < $shown[$_ - 1] } 1 .. $#shown), 'once more from the beginning when its own begins');
	is(decode_json(slurp($file))->{items}, 1024, 'the result went to standard output');
}

# All of it evicted while one runs: what waits in memory then is written without the limit. (As much as there is may wait,
# so that a machine that is busy does not make it fail.)
fill($daemon, 'm', 12_000);
my $before = $daemon->client->stats('persist')->{snapshots};
kill 'USR2', $daemon->pid;
my $size = sub { my ($file) = glob $daemon->dir . '/snapshot-*.tmp'; return $file && -s $file || 0; };
wait_until('one runs', sub { $size->() > 0 });
my $filling = time;
fill($daemon, 'n', 24_000);
$filling = time - $filling;
wait_until('it ends', sub { my $s = $daemon->client->stats('persist'); $s->{snapshots} > $before || $s->{snapshot_errors} }, 120);
$stats = $daemon->client->stats('persist');
is($stats->{snapshot_errors}, 0, 'eviction in a hurry did not make it fail');
is($stats->{snapshots}, $before + 1, 'it was published');
cmp_ok($stats->{last_snapshot_bytes}, '>', 30 << 20, 'with most of what there was');
cmp_ok($stats->{last_snapshot_us} / 1e6, '<', $filling + $stats->{last_snapshot_bytes} / (1 << 20) / 2, 'faster than the rate alone');
$daemon->crash;
cmp_ok($daemon->client->stats('persist')->{recovery_snapshot}, '>', 0, 'and used after a kill');
is($daemon->stop, 0, 'stopped in order');
done_testing();
