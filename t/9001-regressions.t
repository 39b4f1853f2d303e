#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# Bugs that were found and fixed, one subtest each: starts on a directory with damage, with an unfinished change or with
# another daemon on it. 9002 holds those of a daemon that runs.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Files qw(blocks copy_dir cut newest);
use Hearth::Forge ();
use Hearth::Process qw(sanitizer slurp spew tree_digest wait_until);
use Test::More;
use Time::HiRes qw(sleep);

my @still = ('--snapshot-interval', 0, '--snapshot-log-ratio', 0, '-t', 1);

# One bug: whatever dies in it, the others are tried too.
sub bug
{
	my ($what, $code) = @_;
	return subtest($what, sub { eval { $code->(); 1 } or fail("it dies: $@"); done_testing(); });
}

sub strace_bug
{
	my (@bug) = @_;
	SKIP: {
		skip "$bug[0]: needs strace", 1 if sanitizer();
		bug(@bug);
	}
	return;
}

sub segment { my ($dir, $number) = @_; return sprintf '%s/log-%010d', $dir, $number; }

# A directory whose daemon was killed after each of the steps: one segment a step.
sub directory
{
	my (@steps) = @_;
	my $daemon;
	for my $step (@steps) {
		$daemon ? $daemon->up : ($daemon = Hearth::Daemon->start(args => [@still]));
		$step->($daemon->client);
		$daemon->kill9;
	}
	return $daemon->dir;
}

# strace around a start, behind the daemon: the pid is the daemon's, and both end together.
sub strace { my (@options) = @_; return (prefix => ['strace', '-D', '-f', '-o', '/dev/null', @options]); }

# A start that is killed as soon as it makes this snapshot.
sub killed_before
{
	my ($dir, $snapshot) = @_;
	my $kill = 'inject=openat:signal=KILL:when=1';
	my $daemon = eval {
		Hearth::Daemon->start(dir => $dir, args => [@still], strace('-P', "$snapshot.tmp", '-e', 'trace=openat', '-e', $kill));
	};
	my $end = $daemon ? $daemon->ended(60) : $@ =~ /ended with 137:/ ? 137 : $@;
	return is($end, 137, 'a start is killed before it heals');
}

# The values found at a start, and once more after a kill.
sub found_twice
{
	my ($dir, @keys) = @_;
	my $daemon = Hearth::Daemon->start(dir => $dir, args => [@still]);
	my @found;
	for my $again (0, 1) {
		$daemon->crash if $again;
		my $items = $daemon->client->items("get @keys");
		push @found, { map { $_ => $items->{$_}{value} } keys %$items };
	}
	is($daemon->client->set('writes', 1), 'STORED', 'it writes');
	$daemon->kill9;
	return @found;
}

# What is damaged must cost nothing but keys, never bring one back; --strict refuses it and changes nothing.
sub never_back
{
	my ($what, $dir, $damage) = @_;
	my $copy = copy_dir($dir);
	$damage->(segment($copy, 2));
	my $before = tree_digest($copy);
	my ($code, $err) = Hearth::Daemon->refused('--data-dir', $copy, '--strict');
	is($code, 65, "$what: --strict refuses") or diag $err;
	is(tree_digest($copy), $before, "$what: and changes nothing");
	my ($first, $second) = found_twice($copy, 'k', 'z');
	is($first->{k}, undef, "$what: a deleted key stays deleted");
	is($second->{k}, undef, "$what: also at the next start");
	return $second;
}

sub zero_header { my ($file) = @_; my $b = slurp($file); substr $b, 0, 512, "\0" x 512; spew($file, $b); return; }

my $set = sub { my ($c) = @_; $c->set($_, 'v1') for 'k', 'other'; };
my $delete = sub { my ($c) = @_; is($c->ask("delete k\r\n"), 'DELETED', 'deleted'); $c->set("f$_", 'y' x 200) for 1 .. 50; };
my $go_on = sub { my ($c) = @_; $c->set('z', 'z'); };

bug('a segment in the middle is missing, empty or without its header', sub {
	my $dir = directory($set, $delete, $go_on);
	ok(scalar blocks(slurp(segment($dir, $_))), "segment $_ holds records") for 1 .. 3;
	for (['missing', sub { unlink $_[0] }], ['empty', sub { cut($_[0], 0) }], ['zeroed header', \&zero_header]) {
		my ($what, $damage) = @$_;
		my $found = never_back($what, $dir, $damage);
		is($found->{z}, 'z', "$what: what came behind it is there");
	}
});

bug('the last segment is missing or without its header', sub {
	my $dir = directory($set, $delete);
	never_back('missing', $dir, sub { unlink $_[0] });
	never_back('zeroed header', $dir, \&zero_header);
});

strace_bug('what one start dropped, the next one drops too: a missing segment', sub {
	my $dir = directory($set, $delete);
	unlink segment($dir, 2);
	killed_before($dir, 'snapshot-0000000001') or return;
	my ($first, $second) = found_twice($dir, 'k');
	is($first->{k}, undef, 'a deleted key stays deleted at the second start');
	is($second->{k}, undef, 'and at the third');
});

# A snapshot that waits in the middle of its scan, while more is written: its end lies behind those records.
sub long_snapshot
{
	my @delay = ('-e', 'trace=writev', '-e', 'inject=writev:delay_enter=1000000:when=2');
	my $dir = Hearth::Process::scratch_dir() . '/data';
	my $file = "$dir/snapshot-0000000001";
	my $daemon = Hearth::Daemon->start(dir => $dir, args => [@still], strace('-P', "$file.tmp", @delay));
	my $client = $daemon->client;
	$client->set($_, 'v1') for 'gone', 'k';
	kill 'USR2', $daemon->pid;
	wait_until('the scan to wait', sub { -s "$file.tmp" });
	sleep 0.2;
	$client->set("n$_", 'w') for 1 .. 10;
	is($client->ask("delete gone\r\n"), 'DELETED', 'deleted while a snapshot is made');
	# Its file has its name before the manifest has it.
	wait_until('the snapshot', sub { $client->stats('persist')->{last_snapshot} });
	$daemon->kill9;
	return $dir;
}

strace_bug('what one start dropped, the next one drops too: the log ends before the snapshot', sub {
	my $dir = long_snapshot();
	my $log = newest($dir, 'log');
	my @blocks = grep { $_->[2] } blocks(slurp($log)); # those with records
	cmp_ok(scalar @blocks, '>', 5, 'there is a log to cut');
	cut($log, $blocks[3][0]);
	killed_before($dir, 'snapshot-0000000002') or return;
	my ($first, $second) = found_twice($dir, 'gone');
	is($first->{gone}, undef, 'a deleted key stays deleted at the second start');
	is($second->{gone}, undef, 'and at the third');
});

strace_bug('a failed sync of the directory does not lose the log', sub {
	for my $when (1, 2, 3, '1+') {
		my $daemon = Hearth::Daemon->start(args => [@still]);
		my $dir = $daemon->dir;
		$daemon->client->set('k', 'v');
		is($daemon->stop, 0, 'stops in order');
		my @fail = ('-P', $dir, '-e', 'trace=fsync', '-e', "inject=fsync:error=EIO:when=$when");
		my $broken = eval { Hearth::Daemon->start(dir => $dir, args => [@still], strace(@fail)) };
		$broken->kill9 if $broken;
		$daemon->up;
		is($daemon->client->get('k'), 'v', "sync $when fails: the key is there") or diag $daemon->errors;
		is($daemon->stop, 0, 'stops in order');
	}
});

# Headers of blocks, each of which claims half of what follows it.
sub forged
{
	my ($size) = @_;
	my @headers;
	for (my $left = $size - 64; $left >= 0; $left -= 64) {
		my $claim = $left >> 1;
		push @headers, pack 'a4VVVQVvvqQqVV', 'HBK1', 1, $claim, $claim, 1 << 40, 1, (0) x 7;
	}
	return join '', @headers;
}

bug('forged blocks in a value do not hold up a start behind a torn tail', sub {
	# A sanitizer takes ten times as long, and the helper's patience is the same.
	my $size = sanitizer() ? 4 << 20 : 16 << 20;
	my $value = forged($size);
	is(length $value, $size, 'the value has its size');
	my $daemon = Hearth::Daemon->start(args => [@still, '-m', 256, '-I', '64m']);
	$daemon->client->set('a', 1);
	is($daemon->client->set('big', $value), 'STORED', 'stored');
	$daemon->kill9;
	my $log = newest($daemon->dir, 'log');
	my $end = (blocks(slurp($log)))[-1][1];
	cut($log, $end - 100);
	$daemon->up; # within the helper's patience
	my $client = $daemon->client;
	is($client->get('a'), 1, 'what came before is there');
	is($client->get('big'), undef, 'what is torn is not');
	is($client->stats->{curr_items}, 1, 'nothing else is');
	is($daemon->stop, 0, 'stops in order');
});

bug('a kill between making a segment and naming it', sub {
	my $daemon = Hearth::Daemon->start(args => [@still]);
	$daemon->client->set('k', 'v');
	is($daemon->stop, 0, 'stops in order');
	my ($number) = (sort glob $daemon->dir . '/log-*')[-1] =~ /(\d+)$/;
	my $file = segment($daemon->dir, $number + 1);
	spew($file, '');
	chmod 0600, $file;
	$daemon->up;
	my $client = $daemon->client;
	is($client->get('k'), 'v', 'nothing is lost');
	is($client->set('more', 1), 'STORED', 'it writes');
	$daemon->crash;
	is($daemon->client->get('more'), 1, 'and keeps it');
	is($daemon->stop, 0, 'stops in order');
});

# A directory of segments made by hand, the values of a and b after a start, and its figures.
sub by_hand
{
	my (@segments) = @_; # [blocks, options]
	my %files = map { my ($blocks, %o) = @{ $segments[$_ - 1] };
		sprintf('log-%010d', $_) => $blocks ? Hearth::Forge::segment($_, $blocks, %o) : '' } 1 .. @segments;
	my $dir = Hearth::Forge::directory(%files, MANIFEST => Hearth::Forge::manifest(segments => [map { [$_, 1] } 1 .. @segments], high_water => 1000));
	my $daemon = Hearth::Daemon->start(dir => $dir, args => [@still]);
	my $found = $daemon->client->items('get a b');
	my $stats = $daemon->client->stats('persist');
	is($daemon->stop, 0, 'stops in order');
	return (join(' ', map { $found->{$_}{value} // 'none' } qw(a b)), $stats);
}

# The first disk write failed for good: all was written anew to the third segment, which goes on from none.
bug('a segment that takes the place of all before it', sub {
	my $a = Hearth::Forge::set('a', 'v1');
	my ($found, $stats) = by_hand(
		[undef],
		[[], first => 2, prev_number => 1, prev_end => 300, prev_last => 1],
		[[[$a, 1]]],
	);
	is($found, 'v1 none', 'is all there is');
	is($stats->{recovery_damaged}, 0, 'and nothing is damaged');
});

# A segment of a later boot, though not the next one, was begun by a start that had read all before it.
bug('damage at the end of a segment, two boots ago', sub {
	my $a = Hearth::Forge::segment(1, [[Hearth::Forge::set('a', 'v1'), 1]]);
	my $garbage = 'x' x 100;
	my ($found, $stats) = by_hand(
		[[[Hearth::Forge::set('a', 'v1'), 1]], tail => $garbage],
		[[], first => 2, prev_number => 1, prev_end => length($a) + 100, prev_last => 1],
		[[[Hearth::Forge::set('b', 'v2'), 1]], first => 2, prev_number => 2, prev_end => 256, prev_last => 1, boot_id => 'another boot id '],
	);
	is($found, 'v1 v2', 'ends no log');
	is($stats->{recovery_damaged}, 1, 'and is damage');
});

bug('a start on a directory in use ends in order', sub {
	my $daemon = Hearth::Daemon->start(args => [@still]);
	for (1 .. 3) {
		my ($code, $err) = Hearth::Daemon->refused('--data-dir', $daemon->dir, @still);
		is($code, 75, 'refused with 75, by no signal') or diag $err;
	}
	is($daemon->client->set('k', 'v'), 'STORED', 'the other one serves on');
	is($daemon->stop, 0, 'stops in order');
});
done_testing();
