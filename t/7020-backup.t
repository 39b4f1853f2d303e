#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# hearth backup: of a daemon that runs, writes and retires files meanwhile, of one that was stopped or killed; linked,
# copied and as a tar stream; restored, and held against a model. The recipes of the manual page are run.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Files qw(blocks copy_dir cut flip newest);
use Hearth::Process qw(program run scratch_dir slurp spew tree_digest long_run);
use JSON::PP;
use Test::More;
use Time::HiRes qw(sleep time);

my $seed = $ENV{HEARTH_SEED} // (time ^ $$ << 8) & 0x7fffffff;
srand $seed;
note "seed $seed";
my @still = ('--snapshot-interval', 0, '--snapshot-log-ratio', 0, '-m', 16);
my @keys = map { "k$_" } 1 .. 10;
my $made = scratch_dir();
my $n_made = 0;
sub fresh { return "$made/" . ++$n_made; }
sub hearth { my (@args) = @_; return run([program('hearth'), @args]); }
sub text { my ($state) = @_; return join ' ', map { "$_=$state->{$_}" } sort keys %$state; }
sub shell { my ($command) = @_; local $ENV{PATH} = program('hearth') =~ s{/[^/]*$}{}r . ":$ENV{PATH}"; return run(['sh', '-c', $command]); }

# What a daemon on a directory serves, and the number that its next change gets.
sub served
{
	my ($dir) = @_;
	my $daemon = Hearth::Daemon->start(dir => $dir, args => [@still]);
	my $c = $daemon->client;
	my $items = $c->items("get @keys");
	$c->set('next', 1);
	my $next = $c->gets('next')->{cas};
	$daemon->kill9;
	return (text({ map { $_ => $items->{$_}{value} } keys %$items }), $next);
}

sub restored
{
	my ($backup) = @_;
	my $to = fresh();
	my ($code, $out, $err) = hearth('restore', $backup, '--to', $to);
	return "restore: $code $err" if $code;
	my ($found, $next) = served($to);
	run(['rm', '-rf', $to]);
	return $found;
}

my @states = ({});
my $state = {};
sub play
{
	my ($c, $rounds) = @_;
	for (1 .. $rounds) {
		my $key = $keys[rand @keys];
		if (rand() < 0.7) {
			$state->{$key} = @states . ':' . 'v' x rand 200;
			$c->set($key, $state->{$key});
		} else {
			$c->ask("delete $key\r\n");
			delete $state->{$key};
		}
		push @states, {%$state};
	}
	return;
}

# ---- a daemon that runs ----
my $daemon = Hearth::Daemon->start(args => [@still, '--keep', 2]);
my $dir = $daemon->dir;
my $c = $daemon->client;
for (1 .. 3) {
	play($c, 30);
	hearth('snapshot', $dir);
}
play($c, 30);
my $backup = fresh();
my ($code, $out, $err) = hearth('backup', $dir, '--to', $backup, '--json');
is($code, 0, 'backup of a running daemon') or diag $err;
my $said = decode_json($out);
is($said->{seq}, $#states, 'has every change whose reply had left');
is($said->{copied}, 0, 'nothing is copied on the same file system');
cmp_ok($said->{linked}, '>=', 3, "$said->{linked} files are linked");
is(sprintf('%o', (stat $backup)[2] & 07777), '700', 'the directory is 0700');
is(join(' ', grep { $_ ne '600' } map { sprintf '%o', (stat)[2] & 07777 } glob "$backup/*"), '', 'its files are 0600');
my @linked = grep { (stat)[3] > 1 } glob "$backup/*";
is(scalar @linked, $said->{linked}, 'links are links');
ok(!-e "$backup/admin.sock", 'no socket comes along');
is((hearth('check', $backup))[0], 0, 'check finds nothing wrong');
is(restored($backup), text($state), 'restored, it is the state');
my $n = $#states - 20;
my $moment = fresh();
is((hearth('restore', $backup, '--seq', $n, '--to', $moment))[0], 0, 'and goes back in time');
is((served($moment))[0], text($states[$n]), 'as the directory does');
my $before = tree_digest($backup);
my $then = text($state);
play($c, 50);
hearth('snapshot', $dir);
hearth('snapshot', $dir);
play($c, 5);
is(tree_digest($backup), $before, 'what the daemon does later does not touch it');
is(restored($backup), $then, 'nor what it holds');

# A daemon on the backup itself: no number comes a second time, and the original is none the worse.
my ($found, $next) = served($backup);
is($found, $then, 'a daemon starts on it');
cmp_ok($next, '>', $#states, 'and gives out no number that the other has given out since');
is((hearth('check', $dir))[0], 0, 'the original is untouched by that');

# ---- as a stream ----
my $tar = fresh() . '.tar';
($code, $out, $err) = shell("hearth backup $dir --to - >$tar");
is($code, 0, 'backup to a stream') or diag $err;
is($out, '', 'nothing but the stream on standard output');
like($err, qr/\d+ files, \d+ bytes, up to number $#states\n/, 'the summary on standard error');
($code, $out, $err) = run(['tar', '-tvf', $tar]);
is($code, 0, 'tar reads it') or diag $err;
my @names = map { (split ' ')[-1] } split /\n/, $out;
is($names[0], 'BACKUP', 'what it is comes first');
is($names[-1], 'MANIFEST', 'the manifest last');
unlike($out, qr/^(?!-rw-------)/m, 'all are 0600');
my $unpacked = fresh();
mkdir $unpacked, 0700;
is((run(['tar', '-xf', $tar, '-C', $unpacked]))[0], 0, 'unpacked');
is((hearth('check', $unpacked))[0], 0, 'check finds nothing wrong');
is(restored($unpacked), text($state), 'restored, it is the state');
like(slurp("$unpacked/BACKUP"), qr/hearth restore/, 'BACKUP says what to do');

# One that was not finished: a stream that was cut off, a copy that was killed.
my $bytes = slurp($tar);
for my $part (0.2, 0.6, 1 - 2000 / length $bytes) {
	my $cut = fresh();
	mkdir $cut, 0700;
	spew("$cut.tar", substr $bytes, 0, $part * length $bytes);
	run(['tar', '-xf', "$cut.tar", '-C', $cut]);
	next if -e "$cut/MANIFEST";
	($code, $out, $err) = hearth('restore', $cut, '--to', fresh());
	is($code, 65, "restore refuses a backup that ends at $part");
	like($err, qr/a backup that was not finished/, 'and says why');
	($code, $err) = Hearth::Daemon->refused('--data-dir', $cut);
	is($code, 65, 'hearthd does, too') or diag $err;
}
($code, $out, $err) = shell("hearth backup $dir --to - >/dev/full");
is($code, 74, 'a full disk behind the stream');
like($err, qr/standard output: .*No space/, 'is told');
SKIP: {
	skip 'script(1) is not there', 2 unless grep { -x "$_/script" } split /:/, $ENV{PATH};
	($code, $out, $err) = shell("script -qec 'hearth backup $dir --to -' /dev/null </dev/null");
	is($code, 64, 'a terminal is no place for a stream');
	like($out, qr/not for a terminal/, 'it says so');
}

# ---- where there are no links ----
SKIP: {
	my $shm = "/dev/shm/hearth-test-$$";
	skip 'no other file system to write to', 5 unless -w '/dev/shm' && (stat '/dev/shm')[0] != (stat $dir)[0];
	($code, $out, $err) = hearth('backup', $dir, '--to', $shm, '--json');
	is($code, 0, 'backup to another file system') or diag $err;
	$said = decode_json($out);
	is($said->{linked}, 0, 'nothing is linked');
	cmp_ok($said->{copied}, '>=', 3, "$said->{copied} files are copied");
	is((hearth('check', $shm))[0], 0, 'check finds nothing wrong');
	is(restored($shm), text($state), 'restored, it is the state');
	run(['rm', '-rf', $shm]);
}
SKIP: {
	skip 'only root mounts', 3 unless $> == 0 && (run(['unshare', '-m', 'true']))[0] == 0;
	$c->set('big', 'b' x 900_000);
	push @states, {%$state};
	my $mnt = scratch_dir();
	($code, $out, $err) = shell("exec unshare -m sh -c 'mount -t tmpfs -o size=200k none $mnt && hearth backup $dir --to $mnt/b; code=\$?; ls -A $mnt; exit \$code'");
	is($code, 74, 'a full disk') or diag $err;
	like($err, qr/No space/, 'is told');
	is($out, '', 'and nothing is left of the backup');
	play($c, 1);
	$c->ask("delete big\r\n");
	push @states, {%$state};
}

# ---- usage ----
mkdir(my $full = fresh());
spew("$full/somebody's", 'file');
$before = tree_digest($full);
is((hearth('backup', $dir, '--to', $full))[0], 73, 'a directory that is not empty is refused');
is(tree_digest($full), $before, 'and left alone');
is((hearth('backup', $dir))[0], 64, '--to is needed');
is((hearth('backup', newest($dir, 'log'), '--to', fresh()))[0], 64, 'a file is no directory');
is((hearth('backup', $full, '--to', fresh()))[0], 65, 'nor is somebody else\'s');
is((hearth('backup', "$dir/none", '--to', fresh()))[0], 74, 'nor one that is not there');

# ---- the recipes of the manual page ----
my @recipes = join('', map { slurp($_) } glob 'man/hearth*.1') =~ /^\.Dl (.*hearth backup .*)$/mg;
cmp_ok(scalar @recipes, '>=', 2, 'the page has recipes');
for my $recipe (@recipes) {
	my $place = scratch_dir();
	my $command = $recipe =~ s{/var/lib/hearth}{$dir}gr =~ s{\\-}{-}gr =~ s{/backup/}{$place/}gr;
	mkdir "$place/new", 0700;
	($code, $out, $err) = shell($command);
	is($code, 0, $recipe) or diag $err;
	my ($result) = map { s{/MANIFEST$}{}r } glob "$place/*/MANIFEST";
	if (!$result) {
		my ($packed) = glob "$place/*.tar*";
		is((shell("zstd -qdc $packed | tar -xf - -C $place/new || tar -xf $packed -C $place/new"))[0], 0, 'unpacked');
		$result = "$place/new";
	}
	is(restored($result), text($state), 'restored, it is the state');
}

# ---- a daemon that does not run ----
is($daemon->stop, 0, 'stops in order');
$before = tree_digest($dir);
$backup = fresh();
($code, $out, $err) = hearth('backup', $dir, '--to', $backup, '--json');
is($code, 0, 'backup of a stopped daemon') or diag $err;
is(decode_json($out)->{seq}, $#states, 'has everything');
is(tree_digest($dir), $before, 'the directory stays as it was');
is((hearth('check', $backup))[0], 0, 'check finds nothing wrong');
is(restored($backup), text($state), 'restored, it is the state');
$daemon->up(args => [@still, '--keep', 2]);
play($daemon->client, 10);
$daemon->kill9;
my $copy = copy_dir($dir);
my $log = newest($dir, 'log') =~ s{.*/}{}r;
my @blocks = grep { $_->[2] } blocks(slurp("$copy/$log")); # those with changes
cut("$copy/$log", $blocks[-1][1] - 1);
$backup = fresh();
($code, $out, $err) = hearth('backup', $copy, '--to', $backup);
is($code, 0, 'backup of one that was killed in a write') or diag $err;
is((hearth('check', $backup))[0], 0, 'the torn end stays out');
my ($original) = served($copy);
is(restored($backup), $original, 'it holds what a start would have found');
is($original, text($states[-2]), 'which is all but the last change');

# Damage comes along, and is told.
$copy = copy_dir($dir);
flip("$copy/$log", $blocks[3][0] + 65, 1);
$backup = fresh();
($code, $out, $err) = hearth('backup', $copy, '--to', $backup);
is($code, 2, 'backup of a damaged directory: 2');
like($err, qr/\Q$log\E: at offset $blocks[3][0]\b/, 'and where');
is((hearth('check', $backup))[0], 2, 'the damage is in the backup, too');
($original) = served($copy);
is(restored($backup), $original, 'it holds what a start would have found');

# ---- while a daemon writes, publishes and retires ----
$daemon = Hearth::Daemon->start(args => [@still, '--keep', 1]);
my $writer = $daemon->writer(100);
sleep 0.3;
my @wrong;
my $tries = long_run() ? 100 : 10;
for (1 .. $tries) {
	my $now = $daemon->client->get('k1') // 0; # it may not have begun yet
	my $to = fresh();
	($code, $out, $err) = rand() < 0.5 ? hearth('backup', $daemon->dir, '--to', $to)
	    : shell("mkdir -m 700 $to && hearth backup @{[$daemon->dir]} --to - | tar -xf - -C $to");
	push(@wrong, "$code $err"), next if $code;
	($code, $out, $err) = hearth('check', $to);
	push @wrong, "check: $code $out $err" if $code;
	my $held = restored($to);
	my ($k1, $k2) = $held =~ /k1=(\d+) k2=(\d+)/;
	push @wrong, "k1, k2, at $now: " . substr $held, 0, 200 unless defined $k2 && $k1 >= $now && ($k1 == $k2 || $k1 == $k2 + 1);
	run(['rm', '-rf', $to]);
}
is(join("\n", @wrong), '', "$tries backups of a directory that changes");
kill 'KILL', $writer;
waitpid $writer, 0;
is($daemon->kill9, 137, 'killed');
done_testing();
