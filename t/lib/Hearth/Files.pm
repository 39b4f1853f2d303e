# SPDX-License-Identifier: BSD-3-Clause
# What tests know of the files: enough to damage them at a chosen place and to say what must survive that.
package Hearth::Files;
use strict;
use warnings;
use Exporter 'import';
use Hearth::Process qw(scratch_dir slurp spew run);

our @EXPORT_OK = qw(blocks copy_dir cut du flip newest);

my $segment_header = 256;
my $block_header = 64;

# [begin, end, records] of each block of a log, in order.
sub blocks
{
	my ($bytes) = @_;
	my @found;
	my $at = $segment_header;
	while ($at + $block_header <= length $bytes && substr($bytes, $at, 4) eq 'HBK1') {
		my ($stored) = unpack 'V', substr $bytes, $at + 8, 4;
		my ($count) = unpack 'V', substr $bytes, $at + 24, 4;
		push @found, [$at, $at + $block_header + $stored, $count];
		$at += $block_header + $stored;
	}
	return @found;
}

# A copy of a directory without its socket.
sub copy_dir
{
	my ($dir) = @_;
	my $to = scratch_dir() . '/data';
	mkdir $to, 0700;
	for my $file (grep { -f } glob "$dir/*") {
		my $name = $file =~ s{.*/}{}r;
		spew("$to/$name", slurp($file));
		chmod 0600, "$to/$name";
	}
	return $to;
}

sub flip
{
	my ($file, $byte, $bit) = @_;
	my $bytes = slurp($file);
	substr $bytes, $byte, 1, chr(ord(substr $bytes, $byte, 1) ^ 1 << $bit);
	spew($file, $bytes);
	return;
}

sub cut { my ($file, $length) = @_; spew($file, substr slurp($file), 0, $length); return; }

# What a directory takes on the disk, in bytes.
sub du
{
	open my $du, '-|', 'du', '-s', '-B1', $_[0] or die "du: $!";
	my $bytes = (<$du> // '') =~ /^(\d+)/ ? $1 : 0;
	close $du;
	return $bytes;
}

# The file of a kind with the highest number that holds something: the next segment is made ahead.
sub newest
{
	my ($dir, $kind) = @_;
	my @files = sort grep { $kind eq 'log' ? blocks(slurp($_)) : -s } glob "$dir/$kind-*";
	return $files[-1];
}

1;
