#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# lru_crawler metadump and mgdump: each item once, whatever its key, while others write and the index grows; a client that
# reads slowly or not at all holds nobody up.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Process qw(sanitizer);
use Test::More;

my $daemon = Hearth::Daemon->start(args => ['-m', 200, '-t', 2]);
my $client = $daemon->client;

# What is left of a dump, up to its end.
sub rest_of
{
	my ($c, $end) = @_;
	my $text = '';
	do {
		$text .= $c->{input};
		$c->{input} = '';
	} while (substr("\n$text", -length($end) - 3) ne "\n$end\r\n" && $c->fill);
	return $text;
}

# The lines of a dump.
sub dump_of
{
	my ($how, $end) = @_;
	my $c = $daemon->client;
	$c->put("lru_crawler $how\r\n");
	return split /\r?\n/, rest_of($c, $end);
}

is_deeply([dump_of('metadump all', 'END')], ['OK', 'END'], 'an empty daemon');
$client->set("a+key~-._%\x01\xff", 'value', flags => 7, exptime => 1000);
is($client->ask("ms YWI= 3 b\r\nabc\r\n"), 'HD', 'an item with a coded key');
is($client->ask("set long 0 0 300000\r\n" . 'x' x 300_000 . "\r\n"), 'STORED', 'a long one');
$client->get('long');
$client->set('gone', 1, exptime => -1);
my %line = map { /^key=(\S+) (.*)/ ? ($1 => $2) : () } dump_of('metadump all', 'END');
is(join(' ', sort keys %line), 'a%2Bkey~-._%25%01%FF ab long', 'keys as in a URI, nothing that has expired');
my $now = time;
like($line{'a%2Bkey~-._%25%01%FF'}, qr/^exp=(\d+) la=(\d+) cas=\d+ fetch=no cls=1 size=\d+ flags=7$/, 'all its figures');
$line{'a%2Bkey~-._%25%01%FF'} =~ /^exp=(\d+) la=(\d+)/;
ok(abs($1 - $now - 1000) < 20 && abs($2 - $now) < 20, 'times are absolute');
like($line{long}, qr/^exp=-1 .* fetch=yes /, 'for ever, and read');
my @mg = dump_of('mgdump hash', 'EN');
is($mg[-1], 'EN', 'mgdump ends');
is(join('|', sort grep { /^mg / } @mg), "mg YWI= b|mg a+key~-._%\x01\xff|mg long", 'lines to be sent as they are');
is($client->ask("flush_all\r\n"), 'OK', 'flushed');
is_deeply([dump_of('metadump all', 'END')], ['OK', 'END'], 'what was flushed is not listed');

# ---- many, while others write ----
my $n = sanitizer() ? 20_000 : 100_000;
my $batch = '';
for my $i (1 .. $n) {
	$batch .= "set stay$i 0 0 1 noreply\r\nx\r\n";
	$client->put($batch), $batch = '' if $i % 5000 == 0;
}
is($client->ask("mn\r\n"), 'MN', "$n items");
my $writer = fork // die "fork: $!";
if (!$writer) {
	my $c = $daemon->client;
	my $i = 0;
	while (1) {
		$c->put(join '', map { $i++; "set more$i 0 0 1 noreply\r\nx\r\n" } 1 .. 200);
		$c->ask("mn\r\n");
	}
}
my %times;
$times{$_}++ for map { /^key=(stay\d+) / ? $1 : () } dump_of('metadump all', 'END');
is(scalar keys %times, $n, 'each item that stays is listed');
is(scalar(grep { $_ != 1 } values %times), 0, 'once');

# ---- clients that do not read ----
my @idle = map { $daemon->client } 1 .. 8;
$_->put("lru_crawler metadump all\r\n") for @idle;
is($daemon->client->ask("get stay1\r\n"), 'VALUE stay1 0 1', 'others are served');
$idle[$_]->close for 0 .. 6;
my $lines = () = rest_of($idle[7], 'END') =~ /^key=stay\d+ /mg;
is($lines, $n, 'one that reads late has them all');
kill 'KILL', $writer;
waitpid $writer, 0;

# ---- mistakes ----
is($client->ask("lru_crawler metadump\r\n"), 'ERROR', 'without a class');
is($client->ask("lru_crawler metadump foo\r\n"), 'BADCLASS invalid class id', 'a class that is none');
like($daemon->client->stream("get a\r\nlru_crawler mgdump all\r\nversion\r\n"), qr/\AEND\r\nOK\r\n.*EN\r\nVERSION 1.6.45\r\n\z/s,
	'between other commands');
is($daemon->stop, 0, 'stops in order');
$daemon = Hearth::Daemon->start(dir => 'none', args => ['-X']);
is($daemon->client->ask("lru_crawler $_ all\r\n"), 'ERROR metadump not allowed', "-X: no $_") for qw(metadump mgdump);
is($daemon->stop, 0, 'stops in order');
done_testing();
