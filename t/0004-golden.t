#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# Data directories that earlier versions wrote are read for ever: what the tool says about them is compared with what
# was noted when they were made, and a daemon serves from a copy. t/data/make-golden made them.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Files qw(copy_dir flip);
use Hearth::Forge qw(crc32c);
use Hearth::Process qw(program run scratch_dir slurp spew tree_digest);
use JSON::PP;
use Test::More;

sub json { my ($file) = @_; return JSON::PP->new->latin1->decode(slurp($file)); }

# What a daemon serves from this directory, of the keys that are expected: [flags, value, cas] of each.
sub served
{
	my ($daemon, $expected) = @_;
	my $found = $daemon->client->items('gets ' . join ' ', sort keys %$expected);
	return { map { $_ => [@{ $found->{$_} }{qw(flags value cas)}] } keys %$found };
}

my @golden = glob 't/data/golden-*';
cmp_ok(scalar @golden, '>=', 1, 'there are golden directories');
for my $dir (@golden) {
	my ($code, $out, $err) = run([program('hearth'), 'check', "$dir/data"]);
	is($code, 0, "$dir: check finds no fault") or diag $out . $err;
	($code, $out, $err) = run([program('hearth'), 'dump', '--json', '--values', "$dir/data"]);
	is($code, 0, "$dir: dump") or diag $err;
	is($out, slurp("$dir/dump.json"), "$dir: the same records as when it was made");
	my $expected = json("$dir/items.json");
	my $daemon = Hearth::Daemon->start(dir => copy_dir("$dir/data"));
	is_deeply(served($daemon, $expected), $expected, "$dir: served as they were");
	if (-e "$dir/flush.json") {
		my $c = $daemon->client;
		my $due = json("$dir/flush.json")->{due};
		$daemon->jump($due - time - 60);
		is_deeply(served($daemon, $expected), $expected, "$dir: still there before the flush that was pending");
		$daemon->jump(120);
		is_deeply(served($daemon, $expected), {}, "$dir: and gone behind it");
	}
	is($daemon->stop, 0, "$dir: stops in order");
	if (-e "$dir/lost.json") {
		my $lost = json("$dir/lost.json");
		my $copy = copy_dir("$dir/data");
		flip("$copy/$lost->{file}", $lost->{offset} + 2, 0);
		$daemon = Hearth::Daemon->start(dir => $copy);
		my %left = %$expected;
		delete $left{ $lost->{key} };
		is_deeply(served($daemon, $expected), \%left, "$dir: its key blocks tell what a bad place costs");
		is($daemon->stop, 0, "$dir: stops in order");
	}
	next unless -e "$dir/past.json";
	my $past = json("$dir/past.json");
	my $new = scratch_dir() . '/data';
	($code, $out, $err) = run([program('hearth'), 'restore', "$dir/data", '--seq', $past->{seq}, '--to', $new]);
	is($code, 0, "$dir: back to number $past->{seq}") or diag $err;
	$daemon = Hearth::Daemon->start(dir => $new);
	my $found = served($daemon, $past->{items});
	is_deeply({ map { $_ => [@{ $found->{$_} }[0, 1]] } keys %$found },
		{ map { $_ => [@{ $past->{items}{$_} }[0, 1]] } keys %{ $past->{items} } }, "$dir: as it was then");
	is($daemon->stop, 0, "$dir: stops in order");
}

# ---- what a later version may have written is refused, and not a byte is changed ----

is(crc32c(0, '123456789'), 0xe3069283, 'CRC-32C');

sub set32 { my ($bytes, $at, $value) = @_; substr $$bytes, $at, 4, pack 'V', $value; return; }

# A header of $length bytes with its CRC in the last four.
sub reseal { my ($bytes, $length) = @_; set32($bytes, $length - 4, crc32c(0, substr $$bytes, 0, $length - 4)); return; }

# Where version and feature bits lie, and how the file is sealed again.
my %layout = (
	manifest => [8, 20, sub {
		my ($bytes) = @_;
		my $copy = substr $$bytes, 0, length($$bytes) / 2;
		set32(\$copy, 16, crc32c(0, substr($copy, 0, 16) . substr $copy, 20));
		$$bytes = $copy . $copy;
	}],
	segment => [8, 12, sub { reseal($_[0], 256) }],
	snapshot => [16, 20, sub { reseal($_[0], 264) }],
);
my %change = (
	'a newer version' => sub { my ($bytes, $l) = @_; set32($bytes, $l->[0], 99); },
	'a feature that is not to be read' => sub { my ($bytes, $l) = @_; set32($bytes, $l->[1] + 8, 1 << 20); },
	'a feature that is not to be written behind' => sub { my ($bytes, $l) = @_; set32($bytes, $l->[1] + 4, 1 << 20); },
);
my ($from) = grep { -e "$_/data/MANIFEST" } @golden;
my %file = (manifest => "$from/data/MANIFEST", segment => (glob "$from/data/log-*")[0], snapshot => (glob "$from/data/snapshot-*")[0]);
for my $kind (sort keys %layout) {
	for my $what (sort keys %change) {
		my $copy = copy_dir("$from/data");
		my ($name) = $file{$kind} =~ m{([^/]+)$};
		my $bytes = slurp("$copy/$name");
		my $sealed = $bytes;
		$layout{$kind}[2]->(\$sealed);
		is($sealed, $bytes, "$kind: sealed as we do") if $what eq 'a newer version';
		$change{$what}->(\$bytes, $layout{$kind});
		$layout{$kind}[2]->(\$bytes);
		spew("$copy/$name", $bytes);
		my $before = tree_digest($copy);
		my ($code, $err) = Hearth::Daemon->refused('--data-dir', $copy);
		is($code, 65, "$kind with $what: refused") or diag $err;
		like($err, qr/\Q$name\E.*newer/, 'and named') if $code == 65;
		is(tree_digest($copy), $before, 'not a byte is changed');
	}
}
done_testing();
