#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# hearth drop without a daemon: what was there with the prefix is gone for every later start, also what had been evicted; all else
# is as it was. Directories that are in use, damaged, or none are left as they are. Killed at every kind of call that changes
# files, the directory is one that starts, with each item as it was or gone.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Numbered qw(fill present);
use Hearth::Files qw(copy_dir flip newest);
use Hearth::Process qw(program reap remove_dir run sanitizer scratch_dir slurp spawn tree_digest);
use Hearth::Screen;
use JSON::PP;
use List::Util qw(shuffle);
use Test::More;
use Time::HiRes qw(time);

my $seed = $ENV{HEARTH_SEED} // (time ^ $$ << 8) & 0x7fffffff;
srand $seed;
diag "seed $seed";
my @quiet = ('--snapshot-interval', 0, '--snapshot-log-ratio', 0);
sub hearth { return run([program('hearth'), @_]); }
sub drop { my ($dir, $prefix, @more) = @_; return hearth('drop', '--prefix', $prefix, @more, $dir); }
sub dropped { my ($code, $out, $err) = drop(@_, '--json'); is("$code$err", '0', "drop @_[1 .. $#_]"); return eval { decode_json($out) } // {}; }

my ($user, $users, $late) = (sub { "user:$_[0]" }, sub { "users:$_[0]" }, sub { "user:b$_[0]" });
my $value = sub { "value of $_[0]" };

# ---- what goes, and does not come back ----
for my $end (qw(kill9 stop)) {
	my $daemon = Hearth::Daemon->start(args => \@quiet);
	fill($daemon, 1000, $_, $value) for $user, $users;
	$daemon->client->set('later', 'x', exptime => 5000);
	hearth('snapshot', $daemon->dir);
	fill($daemon, 500, $late, $value);
	my $dir = $daemon->dir;
	$daemon->$end;
	my $before = tree_digest($dir);
	my $dry = dropped($dir, 'user:', '--dry-run');
	is($dry->{items}, 1500, "$end: --dry-run counts");
	ok(!$dry->{deleted}, 'says that nothing is deleted');
	is(tree_digest($dir), $before, 'and changes nothing');
	my $told = dropped($dir, 'user:');
	is($told->{items}, 1500, 'all of them');
	is($told->{bytes}, $dry->{bytes}, 'bytes are those counted before');
	ok($told->{deleted} && !$told->{purged} && !defined $told->{snapshot}, 'no snapshot was needed');
	is(scalar(my @snapshots = glob "$dir/snapshot-*"), 1, 'the old one is kept');
	is((hearth('check', $dir))[0], 0, 'the directory is whole');
	for (1, 2) {
		$daemon->up;
		is(present($daemon, 1000, $user, $value) + present($daemon, 500, $late, $value), 0, 'none of them comes back');
		is(present($daemon, 1000, $users, $value), 1000, 'those of another prefix are there');
		like($daemon->client->ask("mg later t\r\n"), qr/^HD t(?:49\d\d|5000)$/, 'with the time they had left');
		$daemon->kill9;
	}
	my ($code, $out, $err) = drop($dir, 'users:1');
	is("$code$err", '0', 'again, as text');
	is($out, 'users:1: 111 items, ' . length(join '', map { ("users:$_", $value->($_)) } grep { /^1/ } 0 .. 999) . " bytes deleted\n", 'what is printed');
	is(dropped($dir, 'users:1')->{items}, 0, 'and then there is none');
	$daemon->up;
	is(present($daemon, 1000, $users, $value), 889, 'those that begin otherwise stay');
	is($daemon->stop, 0, 'stopped in order');
}

# ---- what was evicted is on disk yet, packed or not ----
for my $compress (0, 1) {
	my @args = (@quiet, $compress ? '--compress' : ());
	my $big = sub { "$_[0] " . 'v' x 2000 };
	my $daemon = Hearth::Daemon->start(args => [@args, '-m', $compress ? 64 : 16]);
	fill($daemon, 5000, $_, $big) for $user, $users;
	cmp_ok($daemon->client->stats->{evictions}, '>', 500, 'evictions') unless $compress;
	$daemon->kill9;
	my $told = dropped($daemon->dir, 'user:');
	is($told->{items}, 5000, 'those that had been evicted are dropped, too');
	$daemon->up(args => [@args, '-m', 64]);
	is(present($daemon, 5000, $user, $big), 0, 'a start with more memory does not bring them back');
	is(present($daemon, 5000, $users, $big), 5000, 'others are there');
	$daemon->stop;
}

# ---- purge; pins ----
{
	my $daemon = Hearth::Daemon->start(args => [@quiet, '--keep', 3]);
	my $secret = sub { "s3cr3t-$_[0]" };
	fill($daemon, 500, $user, $secret);
	fill($daemon, 500, $users, $value);
	my $dir = $daemon->dir;
	hearth('snapshot', $dir) for 1 .. 2;
	fill($daemon, 100, $user, $secret);
	$daemon->kill9;
	is((hearth('pin', $dir, 1))[0], 0, 'pinned');
	my ($code, $out, $err) = drop($dir, 'user:', '--purge');
	is("$code$out", '75', 'a pinned snapshot is in the way');
	like($err, qr/nothing is dropped: snapshot 1 is pinned/, 'it is named');
	is(dropped($dir, 'user:', '--dry-run')->{items}, 500, 'nothing is dropped');
	hearth('unpin', $dir, 1);
	my $told = dropped($dir, 'user:', '--purge');
	is($told->{items}, 500, 'dropped');
	ok($told->{purged}, 'purged');
	my @snapshots = glob "$dir/snapshot-*";
	is("@snapshots", "$dir/$told->{snapshot}", 'the new snapshot alone is left');
	my $bytes = join '', map { slurp($_), /snapshot/ ? (run(['zstd', '-q', '-d', '-c', $_]))[1] : () } grep { -f } glob "$dir/*";
	is(index($bytes, $_), -1, "no file has $_") for 's3cr3t', 'user:';
	cmp_ok(index($bytes, 'users:'), '>=', 0, 'but the others');
	is((hearth('check', $dir))[0], 0, 'the directory is whole');
	$daemon->up;
	is(present($daemon, 500, $users, $value), 500, 'others are there');
	is($daemon->client->stats->{curr_items}, 500, 'and no more');

	# In use, though its socket is gone.
	unlink "$dir/admin.sock";
	($code, $out, $err) = drop($dir, 'users:');
	is("$code$out", '75', 'a directory in use');
	like($err, qr/in use by process @{[$daemon->pid]}$/m, 'by whom');
	is(present($daemon, 500, $users, $value), 500, 'nothing is dropped');
	$daemon->kill9;

	# Damage is for the daemon to decide about.
	my $log = newest($dir, 'snapshot');
	flip($log, (-s $log) / 2, 3);
	my $before = tree_digest($dir);
	($code, $out, $err) = drop($dir, 'users:');
	is("$code$out", '65', 'damage: 65') or diag $err;
	is(tree_digest($dir), $before, 'nothing was changed');
}
my $foreign = scratch_dir();
mkdir "$foreign/photos";
for ([scratch_dir(), 65, qr/no data directory/], [$foreign, 65, qr/error: \Q$foreign\E: (?!.*damaged)/], [scratch_dir() . '/none', 74, qr/No such file/]) {
	my ($dir, $expected, $why) = @$_;
	my ($code, $out, $err) = drop($dir, 'a');
	is("$code$out", $expected, "no directory of Hearth's: $expected");
	like($err, $why, 'says so');
	is(scalar(grep { !/photos$/ } glob "$dir/*"), 0, 'and makes nothing');
}

# ---- memory that does not hold all items; the owner's files ----
{
	my $daemon = Hearth::Daemon->start(args => [@quiet, '-m', 400]);
	my $big = sub { 'v' x 100_000 };
	fill($daemon, 2000, $user, $big);
	$daemon->stop;
	my $dir = $daemon->dir;
	SKIP: {
		skip 'a sanitizer takes all addresses', 3 if sanitizer();
		my ($code, $out, $err) = run(['prlimit', '--as=' . (300 << 20), program('hearth'), 'drop', '--prefix', 'user:', $dir]);
		is("$code$out", '71', 'too little memory: 71') or diag $err;
		like($err, qr/error: .*(?:memory|threads)/, 'says so');
		is(dropped($dir, 'user:', '--dry-run')->{items}, 2000, 'nothing is dropped');
	}
	SKIP: {
		skip 'only root may', 3 unless $> == 0;
		my (undef, undef, $uid, $gid) = getpwnam 'nobody';
		chown $uid, $gid, $dir, glob "$dir/*";
		is(dropped($dir, 'user:1')->{items}, 1111, "root drops in somebody's directory");
		my @others = grep { (lstat)[4] != $uid || (lstat)[5] != $gid } glob "$dir/*";
		is("@others", '', 'all files are still its own');
		$daemon->{args} = [@quiet, '-m', 400, '-u', 'nobody'];
		chmod 0755, $dir =~ s{/[^/]*$}{}r, $dir =~ s{/[^/]*/[^/]*$}{}r;
		$daemon->up;
		is($daemon->client->stats->{curr_items}, 889, 'which its daemon can use');
		$daemon->stop;
	}
}

# ---- on a terminal ----
{
	my $daemon = Hearth::Daemon->start(args => [@quiet, '-m', 400]);
	my $seen;
	# It speaks after a while, which is over before that where the machine is fast.
	for my $n (200_000, 500_000, 1_500_000) {
		fill($daemon, $n, $user, $value);
		$daemon->stop;
		my $s = Hearth::Screen->run([program('hearth'), 'drop', '--prefix', 'user:', $daemon->dir], columns => 120);
		is($s->ended(120), 0, 'it ends');
		like($s->text, qr/^user:: $n items, \d+ bytes deleted\n\n*\z/, 'what is left is the result alone');
		last if $seen = $s->{raw} =~ /looked at \d+\.\d % of the keys, \d+ items, \d+ a second, \d+ s left/;
		$daemon->up;
	}
	ok($seen, 'it said how far it was');
}

# ---- kill -9 ----
# At the n-th call of its kind in any thread, as far as they come.
SKIP: {
	skip 'needs strace', 1 if sanitizer();
	my $daemon = Hearth::Daemon->start(args => [@quiet, '--keep', 2]);
	fill($daemon, 300, $_, $value) for $user, $users;
	hearth('snapshot', $daemon->dir);
	fill($daemon, 300, $user, $value);
	$daemon->kill9;
	my $base = $daemon->dir;
	my $end = time + ($ENV{HEARTH_LONG} ? 600 : 40);
	my ($cases, $killed, $partly, @wrong) = (0, 0, 0);
	my %most = (fsync => 8, fdatasync => 3, renameat => 4, unlinkat => 8, fallocate => 3, write => 2, pwrite64 => 2, pwritev => 2, openat => 28);
	my @cases = shuffle(map { my $call = $_; map { my $n = $_; map { [$n, $_, $call] } 0, 1 } ($call eq 'openat' ? 12 : 1) .. $most{$call} } sort keys %most);
	for my $case (@cases) {
		my ($n, $purge, $call) = @$case;
		last if time > $end;
		my $dir = copy_dir($base);
		my ($code) = run(['strace', '-f', '-qq', '-o', '/dev/null', '-e', "trace=$call", '-e', "inject=$call:signal=KILL:when=$n",
			program('hearth'), 'drop', '--prefix', 'user:', $purge ? '--purge' : (), $dir]);
		$cases++;
		$killed += $code == 137;
		my $again = Hearth::Daemon->prepare(dir => $dir, args => \@quiet);
		my $failed = $again->try_up(args => [@quiet, '--strict']);
		if (defined $failed) {
			push @wrong, "$call $n $purge: a start ends with $failed: " . $again->errors;
			next;
		}
		my ($left, $others) = (present($again, 300, $user, $value), present($again, 300, $users, $value));
		$partly += $left > 0 && $left < 300;
		push @wrong, "$call $n $purge: $others of the others" if $others != 300;
		push @wrong, "$call $n $purge: ended in order, $left left" if $code == 0 && $left > 0;
		$again->kill9;
		($code) = drop($dir, 'user:');
		push @wrong, "$call $n $purge: then it ends with $code" if $code != 0;
		$again->up;
		$left = present($again, 300, $user, $value);
		push @wrong, "$call $n $purge: then $left are left" if $left > 0;
		$again->kill9;
		remove_dir($dir);
	}
	# In the middle of many.
	my $big = Hearth::Daemon->start(args => \@quiet);
	fill($big, 60_000, $user, $value);
	fill($big, 300, $users, $value);
	$big->kill9;
	my $began = time;
	my $copy = copy_dir($big->dir);
	drop($copy, 'user:');
	my $whole = time - $began;
	for my $turn (1 .. 10) {
		my $dir = copy_dir($big->dir);
		my $pid = spawn([program('hearth'), 'drop', '--prefix', 'user:', $dir]);
		select undef, undef, undef, $whole * $turn / 11;
		kill 'KILL', $pid;
		my $done = reap($pid, 60) == 0;
		my $again = Hearth::Daemon->start(dir => $dir, args => [@quiet, '--strict']);
		my ($left, $others) = (present($again, 60_000, $user, $value), present($again, 300, $users, $value));
		$partly += $left > 0 && $left < 60_000;
		push @wrong, "turn $turn: $others of the others" if $others != 300;
		push @wrong, "turn $turn: ended in order, $left left" if $done && $left > 0;
		$again->kill9;
		remove_dir($dir);
	}
	diag "$cases cases, $killed killed, $partly in the middle";
	is(join("\n", @wrong), '', 'each item was as it had been or gone, all others there, and a second drop ended it');
	cmp_ok($killed, '>', 10, 'it was killed now and then');
}
done_testing();
