# SPDX-License-Identifier: BSD-3-Clause
# Files that no Hearth wrote, with checksums that hold: anybody can compute them. Each function makes what the format
# says, and takes overrides by name for whatever is to lie.
package Hearth::Forge;
use strict;
use warnings;
use Exporter 'import';
use Hearth::Process qw(scratch_dir spew);

our @EXPORT_OK = qw(crc32c varint record set block segment frame snapshot manifest directory lineage salt);

my @table = map {
	my $c = $_;
	$c = $c & 1 ? 0x82f63b78 ^ $c >> 1 : $c >> 1 for 1 .. 8;
	$c;
} 0 .. 255;

sub crc32c
{
	my ($crc, $bytes) = @_;
	$crc ^= 0xffffffff;
	$crc = $table[($crc ^ $_) & 255] ^ $crc >> 8 for unpack 'C*', $bytes;
	return $crc ^ 0xffffffff;
}

sub lineage { return 'lineage-of-forge'; }
sub salt { return 'sixteen-of-salt!'; }

sub varint
{
	my ($n) = @_;
	my $out = '';
	do {
		my $low = $n & 127;
		$n >>= 7;
		$out .= chr($low | ($n ? 128 : 0));
	} while ($n);
	return $out;
}

# A record of any type; length => what it claims of its body.
sub record { my ($type, $body, %o) = @_; return chr($type) . ($o{varint} // varint($o{length} // length $body)) . $body; }

# SET with the optional fields given: seq expiry flags cas access (encoded) dict; bits and key_len may lie.
sub set
{
	my ($key, $value, %o) = @_;
	my @fields = ([seq => 1, 'Q<'], [expiry => 2, 'q<'], [flags => 4, 'V'], [cas => 8, 'Q<'], [access => 16, 'a*'],
		[dict => 32, 'V']);
	my ($bits, $body) = ($o{more_bits} // 0, '');
	for my $f (@fields) {
		next unless defined $o{ $f->[0] };
		$bits |= $f->[1];
		$body .= pack $f->[2], $o{ $f->[0] };
	}
	return record(1, pack('vC', $o{bits} // $bits, $o{key_len} // length $key) . $body . $key . $value, %o);
}

# A block of the log: payload as stored, number of its first record, how many take one.
sub block
{
	my ($payload, $first, $count, %o) = @_;
	my $head = pack 'VVQ<VvvQ<Q<q<VV', $o{stored} // length $payload, $o{raw} // length $payload, $first, $count,
	    $o{flags} // 0, $o{zero} // 0, $o{time} // 1_700_000_000_000, $o{durable} // 0, $o{flush_due} // 0,
	    $o{prev} // 0, 0;
	my $sum = crc32c(0, ($o{salt} // salt()) . $head . pack 'V', $o{payload_crc} // crc32c(0, $payload));
	return 'HBK1' . pack('V', $sum) . $head . $payload;
}

# A segment of blocks: each [payload, count, options], chained and numbered unless they say otherwise.
sub segment
{
	my ($number, $blocks, %o) = @_;
	my $first = $o{first} // 1;
	my $head = 'HEARTHLG' . pack 'VVVVa16Q<Q<Q<Q<Q<Q<Q<VVa16q<q<a16q<Q<q<', $o{version} // 1, $o{compatible} // 0,
	    $o{read_only} // 0, $o{incompatible} // 0, $o{lineage} // lineage(), $o{generation} // 1, 0, $o{number} // $number,
	    $first, $o{prev_number} // 0, $o{prev_end} // 0, $o{prev_last} // $first - 1, $o{prev_crc} // 0, 0,
	    $o{boot_id} // '', $o{wall} // 1_700_000_000_000, $o{hearth} // 1_700_000_000_000, $o{salt} // salt(),
	    $o{flush_due} // 0, $o{high_water} // 0, 0;
	$head .= "\0" x (252 - length $head);
	my $prev = crc32c(0, $head);
	my $out = $head . pack 'V', $prev;
	my $next = $first;
	for my $b (@$blocks) {
		my ($payload, $count, %bo) = @$b;
		my $bytes = block($payload, $bo{first} // $next, $count, prev => $prev, %bo);
		$prev = unpack 'V', substr $bytes, 4, 4;
		$next += $count;
		$out .= $bytes;
	}
	return $out . ($o{tail} // '');
}

# A zstd frame by hand: literal bytes in a raw block, or rle => N bytes of one kind in blocks of 128 KiB, which is how
# 33 KB unpack to a gigabyte. size: the content size it claims; window: log of the window it wants; dict: an id.
sub frame
{
	my ($bytes, %o) = @_;
	my $n = $o{rle} // length $bytes;
	my $size = exists $o{size} ? $o{size} : $n;
	my $out = "\x28\xb5\x2f\xfd";
	my $descriptor = (defined $size ? 0xc0 : 0) | (defined $o{dict} ? 3 : 0) | (defined $o{window} || !defined $size ? 0 : 0x20);
	$out .= chr $descriptor;
	$out .= chr((($o{window} // 20) - 10) << 3) unless $descriptor & 0x20;
	$out .= pack 'V', $o{dict} if defined $o{dict};
	$out .= pack 'Q<', $size if defined $size;
	my @blocks = defined $o{rle}
	    ? map { [1, $_, "\0"] } ((131072) x int($n / 131072), $n % 131072 ? $n % 131072 : ())
	    : map { [0, length $_, $_] } unpack("(a65536)*", $bytes);
	@blocks = ([0, 0, '']) unless @blocks;
	# What begins the run of one byte: a head that decodes, in a raw block of its own.
	unshift @blocks, [0, length $bytes, $bytes] if defined $o{rle} && length $bytes;
	for my $i (0 .. $#blocks) {
		my ($type, $len, $data) = @{ $blocks[$i] };
		$out .= substr pack('V', ($i == $#blocks ? 1 : 0) | $type << 1 | $len << 3), 0, 3;
		$out .= $data;
	}
	return $out;
}

sub skippable { my ($magic, $content) = @_; return pack('VV', $magic, length $content) . $content; }

# A snapshot of blocks: each { frame, raw, items, and what may lie }.
sub snapshot
{
	my ($number, $blocks, %o) = @_;
	my $salt = $o{salt} // salt();
	my $head = 'HEARTHSN' . pack 'VVVVa16Q<Q<Q<Q<q<q<a16q<Q<', $o{version} // 1, 0, 0, $o{incompatible} // 0,
	    $o{lineage} // lineage(), $o{generation} // 1, 0, $o{number} // $number, $o{start} // 0, 1_700_000_000_000,
	    $o{hearth} // 1_700_000_000_000, $salt, $o{flush_due} // 0, $o{high_water} // 0;
	$head = pack('VV', 0x184d2a50, 256) . $head . "\0" x (252 - length $head);
	my $out = $head . pack 'V', crc32c(0, $head);
	my ($entries, $items, $raw, $i) = ('', 0, 0, 0);
	for my $b (@$blocks) {
		my $at = length $out;
		my $crc = $b->{crc} // crc32c(crc32c(0, $salt), $b->{frame});
		my ($stored, $r, $n) = ($b->{stored} // length $b->{frame}, $b->{raw}, $b->{items} // 1);
		my $fields = pack 'VVVVQ<Q<Q<', $stored, $r, $crc, $n, $b->{upto} // 0, $b->{offset} // $at, $i++;
		$out .= skippable(0x184d2a51, 'HSBK' . pack('V', crc32c(crc32c(0, $salt), $fields)) . $fields) . $b->{frame};
		$entries .= pack 'Q<VVVVQ<', $b->{offset} // $at, $stored, $r, $crc, $n, $b->{upto} // 0;
		$items += $n;
		$raw += $r;
	}
	my $index_at = length $out;
	my $index = pack('Q<', $o{index_count} // $i) . $entries;
	$out .= skippable(0x184d2a52, 'HSIX' . pack('V', crc32c(crc32c(0, $salt), $index)) . $index);
	my $foot = 'HEARTHSF' . pack 'Q<Q<Q<Q<q<Q<q<Q<Q<', $o{blocks} // $i, $o{items} // $items, $o{raw} // $raw,
	    $o{end} // $o{start} // 0, 0, 0, 1_700_000_000_000, $o{index_at} // $index_at, $o{size} // length($out) + 136;
	$foot .= "\0" x (124 - length $foot);
	return $out . skippable(0x184d2a53, $foot . pack 'V', crc32c(crc32c(0, $salt), $foot));
}

# segments: [number, first, generation, salt]; snapshots: [number, start, end, generation, bytes, wall, flags];
# unlinks: [kind, number]; counts => [3] may lie.
sub manifest
{
	my (%o) = @_;
	my ($segments, $snapshots, $unlinks) = map { $o{$_} // [] } qw(segments snapshots unlinks);
	my $body = pack 'VVVa16Q<Q<Q<Q<Q<VQ<VVV', 0, 0, $o{incompatible} // 0, lineage(), $o{generation} // 1, 0,
	    $o{next_segment} // 100, $o{next_snapshot} // 100, $o{high_water} // 0, $o{flags} // 0, $o{last_seq} // 0,
	    @{ $o{counts} // [scalar @$segments, scalar @$snapshots, scalar @$unlinks] };
	$body .= join '', map { pack 'Q<Q<Q<a16', $_->[0], $_->[1] // 1, $_->[2] // 1, $_->[3] // salt() } @$segments;
	$body .= join '', map { pack 'Q<Q<Q<Q<Q<q<V', map { $_ // 0 } @$_[0 .. 6] } @$snapshots;
	$body .= join '', map { pack 'VQ<', @$_ } @$unlinks;
	my $head = 'HEARTHMF' . pack 'VV', $o{version} // 1, $o{length} // length $body;
	my $copy = $head . pack('V', crc32c(crc32c(0, $head), $body)) . $body;
	return $copy x ($o{copies} // 2);
}

# A data directory of files: name => bytes.
sub directory
{
	my (%files) = @_;
	my $dir = scratch_dir() . '/data';
	mkdir $dir, 0700;
	for my $name (keys %files) {
		spew("$dir/$name", $files{$name});
		chmod 0600, "$dir/$name";
	}
	return $dir;
}

1;
