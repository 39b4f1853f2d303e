#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# Files from somebody else, every checksum right and everything else a lie. Neither daemon nor tool crashes on them, hangs,
# or takes more than the memory that src/README.md states; the daemon starts, or refuses in one line; what it serves was
# stored so.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Forge qw(block crc32c directory frame lineage manifest record salt segment set snapshot varint);
use Hearth::Process qw(program run sanitizer scratch_dir slurp spew tree_digest);
use POSIX qw(mkfifo);
use Test::More;

my $mib = 1 << 20;
my $giga = 1 << 30;
my $memory = 64 + 64 + 2 * 64; # MiB: -m, the constant, and two a core up to so many cores
my $huge = 18446744073709551615;
my $log = 'log-0000000001';
my $good = set('good', 'value');
my @good = ($good, 1);

# The log alone, named by a manifest.
sub log_of { my ($blocks, %o) = @_; return ($log => segment(1, $blocks, %o), MANIFEST => manifest(segments => [[1]])); }
# One payload as the only block.
sub log_with { my ($payload, $count, %o) = @_; return log_of([[@good], [$payload, $count, %o]]); }
sub snapshot_of
{
	my ($blocks, %o) = @_;
	my $bytes = snapshot(1, $blocks, %o);
	return ('snapshot-0000000001' => $bytes, MANIFEST => manifest(snapshots => [[1, $o{start} // 0, $o{end} // 0, 1, length $bytes]]));
}
sub packed { my ($raw, %o) = @_; return { frame => frame($raw), raw => length $raw, %o }; }
my $item = set('good', 'value', seq => 1);
# A record of a gigabyte of zeros, but for its head.
sub giant_head { my ($size, %o) = @_; my $body = pack('vC', 0, 5) . 'giant'; return chr(1) . varint(length($body) + $size) . $body; }
sub giant { my ($size, %o) = @_; my $h = giant_head($size); return (frame($h, rle => $size, size => $size + length $h, %o), $size + length $h); }
my ($bomb, $bomb_raw) = giant($giga);
my ($bomb_window) = giant($giga, window => 31);
my $bombs = sanitizer() ? 2 : 8; # each takes a sanitizer of threads ten seconds to unpack
my $zeros = frame('', rle => 256 << 10);
my $many = join '', map { set("k$_", 'v') } 1 .. 2000;

my @cases = (
	# ---- records ----
	['a varint of ten bytes' => log_with(record(1, 'x', varint => "\xff" x 9 . "\x01"), 1)],
	['a varint without an end' => log_with(record(1, 'x', varint => "\xff" x 12), 1)],
	['a body longer than the block' => log_with(record(1, 'x' x 20, length => 1 << 40), 1)],
	['a key longer than the body' => log_with(set('key', '', key_len => 200), 1)],
	['a key of no bytes' => log_with(set('', 'value'), 1)],
	['a key of 255 bytes' => log_with(set('k' x 255, 'value'), 1)],
	['a delete of 251 bytes' => log_with(record(2, 'k' x 251), 1)],
	['a touch without a key' => log_with(record(3, 'x' x 8), 1)],
	['bits that nobody knows' => log_with(set('key', 'v', bits => 0xe000), 1)],
	['a type that nobody knows' => log_with(record(0x2a, 'x'), 1)],
	['a type that may be skipped' => log_with(record(0xaa, 'x' x 100), 1)],
	['extremes of every field' => log_with(join('', map { set("key$_->[0]", 'v', expiry => $_->[1], flags => 0xffffffff,
		cas => $huge, access => varint($_->[2])) } [1, -9223372036854775807 - 1, 1], [2, 9223372036854775807, 9223372036854775807],
		[3, -1, 1 << 40]), 3)],
	['a number in the log' => log_with(set('key', 'v', seq => 7), 1)],
	['fields of zeros' => log_with(set('key', 'v', seq => 0, expiry => 0), 1)],
	['a dictionary that nobody has' => log_with(set('good', 'other', dict => 7), 1)],
	['a flush at the end of time' => log_with(record(5, pack 'q<', 9223372036854775807), 1, flush_due => 9223372036854775807)],
	['key blocks that lie' => log_of([[@good], [join('', map { record($_->[0], $_->[1]) } [0xc1, ''], [0xc1, "\xff" x 8],
		[0xc1, pack('Q<', $huge) . "\xff" x 400], [0xc2, pack('Q<', 1) . "\1\0\0\0" x 1000], [0xc2, 'x' x 11]), 0]])],
	# ---- blocks ----
	['fewer records than counted' => log_with(set('k', 'v'), 2)],
	['more records than counted' => log_with(set('k', 'v') x 3, 1)],
	['a count of 2^32 - 1' => log_with(set('k', 'v'), 0xffffffff)],
	['a gigabyte that is not there' => log_with(set('k', 'v'), 1, stored => $giga, raw => $giga)],
	['lengths of 2^32 - 1' => log_with(set('k', 'v'), 1, stored => 0xffffffff, raw => 0xffffffff)],
	['raw and stored differ' => log_with(set('k', 'v'), 1, raw => 100_000)],
	['an unknown flag and a large raw length' => log_with(set('k', 'v'), 1, raw => 100_000, flags => 2)],
	['numbers that run backwards' => log_of([[@good], [set('k', 'v'), 1, first => 100], [set('k', 'w'), 1, first => 50]])],
	['number 0' => log_of([[$good, 1, first => 0]], first => 0)],
	['number 2^64 - 1' => log_of([[$good, 1, first => $huge]], first => $huge)],
	['number 2^63' => log_of([[$good, 1]], first => 1 << 63)],
	['number 2^52' => log_of([[@good], [set('k', 'v'), 1, first => 1 << 52]])],
	['numbers up to 2^52' => log_of([[set('k', 'v') x 5, 5, first => (1 << 52) - 5]], first => (1 << 52) - 5)],
	['times at both ends' => log_of([[@good], [set('k', 'v'), 1, time => 9223372036854775807], [set('l', 'v'), 1,
		time => -9223372036854775807]], hearth => 9223372036854775807)],
	['all is durable' => log_of([[$good, 1, durable => $huge]])],
	['many blocks of nothing' => log_of([[@good], map { ['', 0] } 1 .. 5000])],
	# ---- zstd ----
	['a bomb of a gigabyte' => log_with($bomb, 1, raw => $bomb_raw, flags => 1)],
	['a bomb that wants 2 GiB of window' => log_with($bomb_window, 1, raw => $bomb_raw, flags => 1)],
	['a bomb cut off' => log_with(substr($bomb, 0, 20_000), 1, raw => $bomb_raw, flags => 1)],
	['a thousand small bombs' => log_of([[@good], map { [$zeros, 1, raw => 256 << 10, flags => 1] } 1 .. 1000])],
	['a frame longer than stated' => log_with(frame($many), 2000, raw => 100, flags => 1)],
	['a frame shorter than stated' => log_with(frame($many), 1, raw => $giga, flags => 1)],
	['two frames' => log_with(frame(set('k', 'v')) . frame(set('l', 'v')), 2, raw => 2 * length set('k', 'v'), flags => 1)],
	['a skippable frame first' => log_with(pack('VV', 0x184d2a50, 4) . 'skip' . frame(set('k', 'v')), 1, raw => length set('k', 'v'), flags => 1)],
	['a skippable frame behind' => log_with(frame(set('k', 'v')) . pack('VV', 0x184d2a50, 4) . 'skip', 1, raw => length set('k', 'v'), flags => 1)],
	['a frame of nothing' => log_with(frame(''), 0, raw => 100, flags => 1)],
	['a frame with a dictionary' => log_with(frame(set('k', 'v'), dict => 4711), 1, raw => length set('k', 'v'), flags => 1)],
	['a frame that lies of its size' => log_with(frame(set('k', 'v'), size => 1 << 60), 1, raw => length set('k', 'v'), flags => 1)],
	# ---- segments ----
	['an end before the beginning' => ($log => segment(1, [[@good]]), 'log-0000000002' => segment(2, [[$good, 1, first => 2]],
		first => 2, prev_number => 1, prev_end => 3, prev_last => 1), MANIFEST => manifest(segments => [[1], [2, 2]]))],
	['an end behind the end' => ($log => segment(1, [[@good]]), 'log-0000000002' => segment(2, [[$good, 1]], first => 2,
		prev_number => 1, prev_end => $huge, prev_last => 1 << 51), MANIFEST => manifest(segments => [[1], [2, 2]]))],
	['a high-water mark of 2^64 - 1' => log_of([[@good]], high_water => $huge)],
	['a file number of 2^64 - 1' => (MANIFEST => manifest(segments => [[$huge]], next_segment => $huge), "log-$huge" => segment($huge, [[@good]]))],
	['segments that overlap' => ($log => segment(1, [[$good, 1], [$good, 1]]), 'log-0000000002' => segment(2, [[$good, 1]], first => 1),
		MANIFEST => manifest(segments => [[1, 1], [2, 1]]))],
	['headers of blocks all over' => log_of([[@good], [join('', map { block('', $_, 0, stored => $giga - $_ * 64, raw => $giga - $_ * 64) }
		1 .. 3000), 0, payload_crc => 0]])],
	['the manifest lost' => ($log => segment(1, [[@good]]), 'log-4503599627370496' => segment(1 << 52, [[@good]], number => 1 << 52))],
	# ---- snapshots ----
	['a snapshot that is right' => snapshot_of([packed($item)])],
	['records without a number' => snapshot_of([packed($good)])],
	['records numbered 2^64 - 1' => snapshot_of([packed(set('good', 'other', seq => $huge))])],
	['S0 is 2^64 - 1' => snapshot_of([packed($item)], start => $huge)],
	['S0 is 2^52' => snapshot_of([packed($item)], start => 1 << 52, end => 1 << 52)],
	['a snapshot that ends at 2^64 - 1' => snapshot_of([packed($item)], end => $huge)],
	['a delete in a snapshot' => snapshot_of([packed(record(2, 'good'))])],
	['a snapshot of a bomb' => snapshot_of([packed($item), { frame => $bomb, raw => $bomb_raw }])],
	["$bombs bombs" => snapshot_of([packed($item), map { { frame => $bomb, raw => $bomb_raw } } 1 .. $bombs])],
	['a bomb of many items' => snapshot_of([{ frame => $bomb, raw => $bomb_raw, items => 5 }])],
	['a bomb with a window' => snapshot_of([packed($item), { frame => $bomb_window, raw => $bomb_raw }])],
	['a head that says a gigabyte' => snapshot_of([packed($item, raw => $giga)])],
	['stored is 2^32 - 1' => snapshot_of([packed($item, stored => 0xffffffff)])],
	['2^40 blocks' => snapshot_of([packed($item)], blocks => 1 << 40, index_count => 1 << 40)],
	['2^27 blocks' => snapshot_of([packed($item)], blocks => 1 << 27, index_count => 1 << 27)],
	['2^64 - 1 items' => snapshot_of([packed($item)], items => $huge)],
	['an index in the header' => snapshot_of([packed($item)], index_at => 8)],
	['an index behind the end' => snapshot_of([packed($item)], index_at => $huge)],
	['blocks that overlap' => snapshot_of([packed($item), packed($item, offset => 264)])],
	['twenty thousand blocks' => snapshot_of([map { packed(set("k$_", 'v', seq => 1)) } 1 .. 20_000])],
	# ---- manifests ----
	['counts that lie' => ($log => segment(1, [[@good]]), MANIFEST => manifest(segments => [[1]], counts => [0xffffffff, 0xffffffff, 0xffffffff]))],
	['the same file ten thousand times' => ($log => segment(1, [[@good]]), MANIFEST => manifest(segments => [map { [1] } 1 .. 10_000]))],
	['twenty thousand files that are missing' => ($log => segment(1, [[@good]]), MANIFEST => manifest(segments => [map { [$_] } 1 .. 20_000],
		next_segment => 20_001))],
	['numbers that are taken' => ($log => segment(1, [[@good]]), 'snapshot-0000000001' => 'x', MANIFEST => manifest(segments => [[1]],
		next_segment => 0, next_snapshot => 0))],
	['to unlink what is live' => ($log => segment(1, [[@good]]), MANIFEST => manifest(segments => [[1]], unlinks => [[0, 1], [0, $huge], [1, 0]]))],
	['a snapshot numbered 2^64 - 1' => (MANIFEST => manifest(snapshots => [[$huge, 0, 0, 1]], next_snapshot => 0))],
	['a last number of 2^64 - 1' => ($log => segment(1, [[@good]]), MANIFEST => manifest(segments => [[1]], flags => 2, last_seq => $huge))],
	['a generation of 2^64 - 1' => ($log => segment(1, [[@good]]), MANIFEST => manifest(segments => [[1]], generation => $huge))],
	['a manifest of 9 MiB' => ($log => segment(1, [[@good]]), MANIFEST => 'HEARTHMF' . "\1" x (9 * $mib))],
);

my %documented = map { $_ => 1 } 0, 1, 2, 64, 65, 69, 71, 73, 74, 75;

# The tool has no -m: three times the largest record of the files besides its own.
sub tool
{
	my ($what, $largest, @command) = @_;
	my @limit = sanitizer() ? () : ('prlimit', '--as=' . (48 * $mib + 3 * $largest));
	my ($code, $out, $err) = run([@limit, program('hearth'), @command], seconds => 300);
	ok($documented{$code} && $code != 71, "$what: hearth $command[0] ends with $code") or diag $err;
	return;
}

sub peak { my ($pid) = @_; return (slurp("/proc/$pid/status") =~ /^VmHWM:\s+(\d+)/m)[0] / 1024; }

sub daemon_case
{
	my ($what, $dir, $strict) = @_;
	my $before = tree_digest($dir);
	my $daemon = eval { Hearth::Daemon->start(dir => $dir, args => ['-m', 64, '-t', 2, '--snapshot-log-ratio', 0, $strict ? '--strict' : ()]) };
	if (!$daemon) {
		my ($code) = $@ =~ /ended with (\d+): /;
		my $text = $@;
		ok(defined $code && $documented{$code} && $code != 71, "$what: refused with " . ($code // '?')) or diag $text;
		is(tree_digest($dir), $before, "$what: and not a byte is changed") if $code && $code == 65;
		return;
	}
	cmp_ok(peak($daemon->pid), '<', $memory, sprintf '%s: %.0f MiB', $what, peak($daemon->pid)) unless sanitizer();
	my $c = $daemon->client;
	my $got = $c->get('good');
	ok(!defined $got || $got eq 'value', "$what: what is served was stored") or diag $got;
	is($c->set('new', 'value'), 'STORED', "$what: it takes changes");
	is($daemon->stop, 0, "$what: it stops in order");
	$daemon->up(args => ['-m', 64, '-t', 3]);
	is($daemon->client->get('new'), 'value', "$what: and has them at its next start");
	is($daemon->kill9, 137, "$what: it runs until it is killed");
	return;
}

for my $case (@cases) {
	my ($what, %files) = @$case;
	next if $ENV{HEARTH_CASE} && $what !~ /$ENV{HEARTH_CASE}/;
	my $largest = $what =~ /bomb/ ? $giga : 4 * $mib;
	my $dir = directory(%files);
	tool($what, $largest, 'dump', $dir);
	tool($what, $largest, 'check', $dir);
	tool($what, $largest, 'restore', $dir, '--to', scratch_dir() . '/restored');
	for my $name (grep { $_ ne 'MANIFEST' } keys %files) {
		tool($what, $largest, 'check', "$dir/$name");
	}
	daemon_case("$what, strict", directory(%files), 1);
	daemon_case($what, $dir, 0);
}

# Names of ours that are no files.
if (!$ENV{HEARTH_CASE}) {
	my $elsewhere = scratch_dir() . '/elsewhere';
	spew($elsewhere, segment(1, [[@good]]));
	my %odd = (
		'a symbolic link' => sub { symlink $elsewhere, $_[0] },
		'a pipe' => sub { mkfifo $_[0], 0600 },
		'a directory' => sub { mkdir $_[0] },
		'a device' => sub { symlink '/dev/zero', $_[0] },
	);
	for my $what (sort keys %odd) {
		for my $name ($log, 'snapshot-0000000001', 'MANIFEST') {
			my %files = ('log-0000000002' => segment(2, [[@good]]), MANIFEST => manifest(segments => [[1], [2]], snapshots => [[1]]));
			delete $files{$name};
			my $dir = directory(%files);
			$odd{$what}->("$dir/$name");
			tool("$what as $name", 4 * $mib, $_, $dir) for qw(dump check);
			daemon_case("$what as $name", $dir, 0);
			is(slurp($elsewhere), segment(1, [[@good]]), "$what: what a link leads to is as it was");
		}
	}
}
done_testing();
