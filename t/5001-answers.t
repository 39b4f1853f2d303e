#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# Byte for byte what memcached 1.6.45 answers, but for the differences on purpose. Each stream is sent in one piece and,
# where it is short, byte by byte.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Process qw(slurp);
use Test::More;

# name => [answer, reason].
my %differs = (
	'long key get' => ['CLIENT_ERROR bad command line format\r\nVERSION 1.6.45\r\n', 'no stray empty line'],
	'multi long' => ['CLIENT_ERROR bad command line format\r\nMN\r\n', 'no stray empty line'],
	'flags big' => ['CLIENT_ERROR bad command line format\r\nMN\r\n', 'flags over 32 bits are refused'],
	'decr pad' => ['STORED\r\n9\r\nVALUE a 0 1\r\n9\r\nEND\r\n', 'decr does not pad'],
	'incr spaces' => ['STORED\r\n2\r\nVALUE a 0 1\r\n2\r\nEND\r\n', 'incr does not pad'],
	'incr lead sp' => ['STORED\r\n2\r\nVALUE a 0 1\r\n2\r\nEND\r\n', 'incr does not pad'],
	'slabs reassign' => ['OK\r\n', 'there are no slabs: tuning them is accepted and does nothing'],
	'flush 2^31' => ['OK\r\n', 'times past 2038 work'],
);

# The bytes a line of the data file stands for.
sub unfold
{
	my ($text) = @_;
	$text =~ s/k1 \.\. k2000/join ' ', map { "k$_" } 1 .. 2000/e;
	$text =~ s/<(.) x (\d+)>/$1 x $2/ges;
	$text =~ s/\\r/\r/g;
	$text =~ s/\\n/\n/g;
	$text =~ s/\\x([0-9a-f]{2})/chr hex $1/ge;
	return $text;
}

# A pattern for an answer: CAS is any number.
sub pattern { my ($bytes) = @_; return quotemeta($bytes) =~ s/CAS/\\d+/gr; }

my $daemon = Hearth::Daemon->start(dir => 'none');
my $data = slurp('t/data/answers-1.6.45.txt');
my $alive = "version\r\n";
my $alive_answer = "VERSION 1.6.45\r\n";

sub check
{
	my ($name, $sent, $expected, @pieces) = @_;
	$daemon->client->ask("flush_all\r\n");
	my $closed = $expected =~ s/<closed>$//;
	my $pattern = pattern(unfold($expected) . ($closed ? '' : $alive_answer));
	my $client = $daemon->client;
	my $got;
	if ($closed) {
		$client->put($_) for @pieces;
		$got = $client->rest; # the daemon's end comes first
	} elsif ($expected =~ /^STORED/ && $name =~ /^multi long.*byte by byte/) {
		# The answer has left before the get begins, however fast the bytes come.
		my ($set) = $sent =~ /^(set .*?\\r\\n.*?\\r\\n)/;
		$client->put($_) for splice @pieces, 0, length unfold($set);
		$got = $client->line . "\r\n" . $client->stream(@pieces, $alive);
	} else {
		$got = $client->stream(@pieces, $alive);
	}
	return like($got, qr/\A$pattern\z/, $name) || diag 'sent ' . substr $sent, 0, 200;
}

while ($data =~ /^# (.*)\n> (.*)\n< (.*)\n/mg) {
	my ($name, $sent, $expected) = ($1, $2, $3);
	if (my $differs = delete $differs{$name}) {
		$expected = $differs->[0];
		$name .= " (on purpose: $differs->[1])";
	}
	my $bytes = unfold($sent);
	check($name, $sent, $expected, $bytes);
	# Answers that have left cannot be taken back, as 1.6.45 does when a get is broken off.
	$expected = "STORED\\r\\n$expected" if $name =~ /^multi long/;
	check("$name, byte by byte", $sent, $expected, split //, $bytes) if length $bytes < 300;
}
is(join(', ', keys %differs), '', 'each difference on purpose was met');
is($daemon->stop, 0, 'stops in order');
done_testing();
