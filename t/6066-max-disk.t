#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# --max-disk: however much is written, the data directory never takes more, as du counts it with the daemon held still;
# early snapshots and what they retire make room, kept ones are given up, and all that was acknowledged survives a kill.
# Where nothing helps changes are refused, or kept in memory alone under --on-disk-error serve, and it heals by itself.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Files qw(du);
use Hearth::Process qw(program run scratch_dir slurp spew wait_until long_run);
use Test::More;
use Time::HiRes qw(sleep time);

my $seed = $ENV{SEED} // int rand 1 << 30;
diag "seed $seed";
srand $seed;
my $mib = 1 << 20;
# Values that do not compress.
my $noise = join '', map { chr(33 + int rand 90) } 1 .. $mib;
my @small = ('-m', 8, '-I', '64k', '-t', 2);
my @quiet = ('--snapshot-interval', 0, '--snapshot-log-ratio', 0);

# A process that looks again and again, with the daemon held still: else files that come and go while du reads would be
# counted that never lay there together. Its end writes "samples most".
sub watch
{
	my ($daemon, $to, $bound) = @_;
	my ($pid, $dir) = ($daemon->pid, $daemon->dir);
	my $child = fork // die "fork: $!";
	return $child if $child;
	my ($samples, $most, $on) = (0, 0, 1);
	local $SIG{TERM} = sub { $on = 0 };
	while ($on && kill 'STOP', $pid) {
		my $end = time + 5;
		while (time < $end) {
			last unless grep { (eval { slurp($_) } // 'x (x) T') !~ /\) T/ } glob "/proc/$pid/task/*/stat";
		}
		my $bytes = du($dir);
		# While the kernel writes a file back, ext4 counts what is on its way twice for a moment.
		for (1 .. 50) {
			last if $bytes <= $bound;
			sleep 0.02;
			$bytes = du($dir);
		}
		kill 'CONT', $pid;
		$most = $bytes if $bytes > $most;
		$samples++;
		sleep 0.01;
	}
	kill 'CONT', $pid;
	spew($to, "$samples $most");
	require POSIX;
	POSIX::_exit(0);
}

sub watched
{
	my ($child, $from) = @_;
	kill 'TERM', $child;
	waitpid $child, 0;
	return split / /, slurp($from);
}

# Sets so many batches of 20 of the keys k1 to k$keys; counts the answers, and puts what was stored into the model.
sub load
{
	my ($daemon, $model, $keys, $batches, $until) = @_;
	my %answers;
	my $client = $daemon->client;
	for (1 .. $batches) {
		my @sets = map { [ 'k' . (1 + int rand $keys), substr $noise, int rand($mib - 20000), 19000 + int rand 1000 ] } 1 .. 20;
		$client->put(join '', map { "set $_->[0] 0 0 " . length($_->[1]) . "\r\n$_->[1]\r\n" } @sets);
		for (@sets) {
			my $answer = $client->line // 'closed';
			$answers{ $answer =~ s/ .*//r }++;
			$model->{ $_->[0] } = $_->[1] if $answer eq 'STORED';
		}
		last if $until && $until->(\%answers);
	}
	return \%answers;
}

sub wrong
{
	my ($daemon, $model) = @_;
	my $client = $daemon->client;
	my @wrong = grep { ($client->get($_) // '') ne $model->{$_} } sort keys %$model;
	return "@wrong[0 .. ($#wrong > 5 ? 5 : $#wrong)]";
}

sub hearth { return run([program('hearth'), @_]); }
sub persist { return $_[0]->client->stats('persist'); }

# ---- many times the bound is written ----
for my $case ([22, 220, []], [22, 220, ['--fsync', 'always']], [32, 320, ['--keep', 3]]) {
	my ($limit, $batches, $more) = @$case;
	my $what = "--max-disk ${limit}m @$more";
	my $daemon = Hearth::Daemon->start(args => [@small, @quiet, '--max-disk', "${limit}m", @$more]);
	my $to = scratch_dir() . '/most';
	my $watch = watch($daemon, $to, $limit * $mib);
	my %model;
	my $answers = load($daemon, \%model, 200, long_run() ? 10 * $batches : $batches);
	my ($samples, $most) = watched($watch, $to);
	my $stats = persist($daemon);
	is(join(' ', sort keys %$answers), 'STORED', "$what: all is stored");
	cmp_ok($stats->{log_written_bytes}, '>', 3 * $limit * $mib, "$what: many times as much was written");
	cmp_ok($samples, '>=', 20, "$what: $samples samples");
	cmp_ok($most, '<=', $limit * $mib, "$what: never more than the bound");
	cmp_ok($most, '>', $limit * $mib / 4, "$what: of which it makes use ($most)");
	cmp_ok($stats->{disk_early_snapshots}, '>=', 3, "$what: $stats->{disk_early_snapshots} early snapshots");
	is($stats->{disk_limit}, $limit * $mib, "$what: the limit is in the figures");
	cmp_ok($stats->{disk_bytes}, '<=', $limit * $mib, "$what: what there is, too");
	cmp_ok($stats->{disk_given_up}, '>', 0, "$what: kept snapshots were given up") if "@$more" =~ /keep/;
	is($stats->{snapshot_errors}, 0, "$what: no snapshot failed");
	is($stats->{state}, 'healthy', "$what: healthy");
	$daemon->crash;
	is(wrong($daemon, \%model), '', "$what: killed, all is there");
	cmp_ok(du($daemon->dir), '<=', $limit * $mib, "$what: within the bound");
	unlike($daemon->errors, qr/no room/, "$what: the start found room");
	wait_until("$what: healthy", sub { persist($daemon)->{state} eq 'healthy' && persist($daemon)->{disk_waiting} eq 'no' }, 60);
	is($daemon->stop, 0, "$what: stops in order") or diag $daemon->errors;
}

# ---- pinned snapshots fill the room ----
for my $serve (0, 1) {
	my $what = $serve ? 'pinned, --on-disk-error serve' : 'pinned';
	my $limit = 22;
	my @args = (@small, @quiet, '--max-disk', "${limit}m", $serve ? ('--on-disk-error', 'serve') : ());
	my $daemon = Hearth::Daemon->start(args => \@args);
	my $to = scratch_dir() . '/most';
	my $watch = watch($daemon, $to, $limit * $mib);
	my %model;
	load($daemon, \%model, 150, 10);
	my ($code, undef, $err) = hearth('snapshot', $daemon->dir, '--pin');
	is($code, 0, "$what: a pinned snapshot") or diag $err;
	my $state = sub { return persist($daemon)->{state} };
	my $answers = load($daemon, \%model, 150, 1000, sub { $serve ? $state->() ne 'healthy' : $_[0]{SERVER_ERROR} });
	my $tries = sub { my $s = persist($daemon); return $s->{snapshots} + $s->{snapshot_errors} };
	if ($serve) {
		wait_until("$what: untrusted", sub { $state->() eq 'untrusted' }, 30);
		is($daemon->client->set('k1', 'in memory'), 'STORED', "$what: changes go on in memory");
		$model{k1} = 'in memory';
	} else {
		cmp_ok($answers->{SERVER_ERROR}, '>', 0, "$what: changes are refused");
		is($state->(), 'reserve', "$what: the log goes on");
		like($daemon->errors, qr/--max-disk is reached, and no snapshot would make room; state reserve/, "$what: a message");
		is($daemon->client->ask("delete k1\r\n") =~ s/NOT_FOUND/DELETED/r, 'DELETED', "$what: invalidations are accepted");
		delete $model{k1};
	}
	my $before = $tries->();
	my $skipped = persist($daemon)->{disk_skipped_snapshots};
	sleep 2.5;
	is($tries->(), $before, "$what: no snapshot is tried again and again");
	cmp_ok(persist($daemon)->{disk_skipped_snapshots} - $skipped, '<=', 1, "$what: nor thought of");
	is(wrong($daemon, \%model), '', "$what: reads go on");
	my ($samples, $most) = watched($watch, $to);
	cmp_ok($most, '<=', $limit * $mib, "$what: within the bound ($samples samples)");
	if (!$serve) {
		$daemon->crash for 1 .. 2;
		is(wrong($daemon, \%model), '', "$what: killed twice, all is there");
		is($daemon->client->get('k1'), undef, "$what: and what was deleted is not");
		cmp_ok(du($daemon->dir), '<=', $limit * $mib, "$what: within the bound");
	}
	is((hearth('unpin', $daemon->dir, 1))[0], 0, "$what: unpin");
	wait_until("$what: well again", sub { $state->() eq 'healthy' }, 90);
	my $answer = '';
	wait_until("$what: changes are taken", sub { ($answer = $daemon->client->set('k2', 'healed')) eq 'STORED' }, 30);
	is($answer, 'STORED', "$what: changes are taken again");
	$model{k2} = 'healed';
	$daemon->crash;
	is(wrong($daemon, \%model), '', "$what: killed behind that, all is there");
	cmp_ok(du($daemon->dir), '<=', $limit * $mib, "$what: within the bound");
	is($daemon->stop, 0, "$what: stops in order");
}

# ---- a directory that is beyond the bound already ----
{
	my $daemon = Hearth::Daemon->start(args => [@small, @quiet]);
	my ($limit, %model) = 16 * $mib;
	load($daemon, \%model, 150, 80);
	$daemon->crash(args => [@small, @quiet, '--max-disk', '16m']);
	like($daemon->errors, qr/leaves no room under --max-disk 16777216/, 'a start beyond the bound says so');
	is(wrong($daemon, \%model), '', 'and serves all');
	wait_until('what is to be done', sub { $daemon->errors =~ /--max-disk 16777216: \d{8} bytes are there: a snapshot of about \d+ is written/ });
	wait_until('it to be below', sub { du($daemon->dir) <= $limit }, 60);
	pass('a snapshot brings it below');
	my $answer = '';
	wait_until('changes', sub { ($answer = $daemon->client->set('k1', 'again')) eq 'STORED' }, 60);
	is($answer, 'STORED', 'changes are taken');
	$model{k1} = 'again';
	load($daemon, \%model, 150, 30);
	cmp_ok(du($daemon->dir), '<=', $limit, 'and it stays below');
	$daemon->crash(args => [@small, @quiet, '--max-disk', '16m']);
	unlike($daemon->errors, qr/bytes are there/, 'another start has nothing to make smaller');
	is(wrong($daemon, \%model), '', 'all is there');
	is($daemon->stop, 0, 'stops in order');
}

# ---- beyond it by what no snapshot takes away ----
{
	my $daemon = Hearth::Daemon->start(args => [@small, @quiet]);
	my $other = $daemon->dir . '/other';
	my %model;
	load($daemon, \%model, 50, 10);
	$daemon->kill9;
	spew($other, $noise x 24);
	$daemon->up(args => [@small, @quiet, '--max-disk', '24m']);
	wait_until('what is not to be done', sub { $daemon->errors =~ /--max-disk 25165824: \d{8} bytes are there, and no snapshot would make them fit/ }, 30);
	wait_until('refused', sub { ($daemon->client->set('k1', 'x' x 60000) // '') =~ /^SERVER_ERROR/ }, 30);
	my $stats = persist($daemon);
	is($stats->{degraded}, 'yes', 'a file of others: changes are refused, which stats say');
	cmp_ok($stats->{disk_bytes}, '>', $stats->{disk_limit}, 'and by how much it is beyond');
	my ($gone) = grep { $_ ne 'k1' } sort keys %model;
	is($daemon->client->ask("delete $gone\r\n"), 'DELETED', 'deletes are accepted');
	delete @model{'k1', $gone};
	is(wrong($daemon, \%model), '', 'what was there is served');
	unlink $other or die "$other: $!";
	my $answer = '';
	wait_until('changes', sub { ($answer = $daemon->client->set('k1', 'again')) eq 'STORED' && persist($daemon)->{state} eq 'healthy' }, 90);
	is($answer, 'STORED', 'with the file gone it gets well by itself');
	$model{k1} = 'again';
	$daemon->crash(args => [@small, @quiet, '--max-disk', '24m']);
	is(wrong($daemon, \%model), '', 'and all is there');
	is($daemon->stop, 0, 'stops in order');
}

# ---- bounds that are too small ----
my $dir = scratch_dir() . '/none';
my ($code, undef, $err) = run([program('hearthd'), '--data-dir', $dir, '-p', 0, @small, '--max-disk', '4m']);
is($code, 64, 'too small to work');
like($err, qr/--max-disk: 4194304 bytes are too few: .* must be \d{7,} or more/, 'names the option and the least');
ok(!-e $dir, 'and makes no directory');
my $daemon = Hearth::Daemon->start(args => [@small, '--max-disk', '12m']);
like($daemon->errors, qr/--max-disk 12582912 is less than the \d{8} that a full -m 8 may take/, 'less than enough: a warning with both');
$daemon->restart(args => [@small, '--max-disk', '32m']);
unlike($daemon->errors, qr/max-disk/, 'enough: none');
is($daemon->stop, 0, 'stops in order');
done_testing();
