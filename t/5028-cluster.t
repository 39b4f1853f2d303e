#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# config get cluster: what auto-discovery clients are told, from --cluster-file, read anew at SIGHUP.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Process qw(scratch_dir spew wait_until);
use Test::More;

my $file = scratch_dir() . '/nodes';
sub answer
{
	my ($client) = @_;
	my $head = $client->ask("config get cluster\r\n");
	my ($length) = $head =~ /^CONFIG cluster 0 (\d+)$/ or return $head;
	my $body = $client->bytes($length + 2);
	is(substr($body, -2), "\r\n", 'the body ends where it says');
	is($client->line, 'END', 'then END');
	return substr $body, 0, -2;
}

spew($file, "12\none.example|10.0.0.1|11211  two.example||11212\n");
my $daemon = Hearth::Daemon->start(dir => 'none', args => ['--cluster-file', $file]);
my $client = $daemon->client;
is(answer($client), "12\none.example|10.0.0.1|11211 two.example||11212\n", 'version and nodes');
is($client->ask("config get other\r\n"), 'ERROR', 'nothing else is configured');
is($client->ask("config set cluster 0 1\r\n"), 'ERROR', 'nor set');

spew($file, "13\r\none.example|10.0.0.1|11211\r\n");
kill 'HUP', $daemon->pid;
wait_until('the new nodes', sub { answer($client) =~ /^13/ });
is(answer($client), "13\none.example|10.0.0.1|11211\n", 'SIGHUP reads it anew');
spew($file, "14\none.example:11211\n");
kill 'HUP', $daemon->pid;
wait_until('the message', sub { $daemon->errors =~ /line 2: one\.example:11211: must be host\|ip\|port/ });
is(answer($client), "13\none.example|10.0.0.1|11211\n", 'a wrong one changes nothing');
is($daemon->stop, 0, 'stops in order');

# ---- another file, while it runs ----
my $conf = scratch_dir() . '/hearth.conf';
spew($conf, "keep = 1\n");
$daemon = Hearth::Daemon->start(dir => 'none', args => ['--config', $conf]);
$client = $daemon->client;
spew("$file-2", "20\nnew.example||1\n");
for (["cluster-file = $file-2\n", "20\nnew.example||1\n", "now $file-2"], ["cluster-file = $file\n", "20\nnew.example||1\n", 'line 2: one.example:11211: must be'],
	["keep = 1\n", 'ERROR', 'now none']) {
	my ($text, $want, $told) = @$_;
	spew($conf, $text);
	kill 'HUP', $daemon->pid;
	wait_until('HUP', sub { $daemon->errors =~ /cluster-file[^\n]*: \Q$told\E|cluster-file: \Q$told\E.*read again/s });
	is(answer($client), $want, "HUP: $told");
}
is($daemon->stop, 0, 'stops in order');

my %wrong = (
	'' => qr/line 1: must be a version/, "x\na|b|1\n" => qr/line 1: must be a version/, "1\n" => qr/two lines/,
	"1\na|b|1\nmore\n" => qr/two lines/, "1\na|b\n" => qr/line 2: a\|b: must be/, "1\na|b|70000\n" => qr/line 2/,
	"1\n|b|1\n" => qr/line 2/, "1\na|b|1\0\n" => qr/nodes: /, 'x' x 70_000 => qr/too large/i,
);
for my $text (sort keys %wrong) {
	spew($file, $text);
	my ($code, $err) = (Hearth::Daemon->refused('--data-dir', 'none', '--cluster-file', $file))[0, 1];
	is($code, 64, 'refused: ' . substr($text, 0, 20) =~ s/[^ -~]/./gr);
	like($err, $wrong{$text}, 'and says why');
}
my ($code, $err) = (Hearth::Daemon->refused('--data-dir', 'none', '--cluster-file', "$file-none"))[0, 1];
is($code, 64, 'a file that is not there');
like($err, qr/No such file/, 'is named');
my $plain = Hearth::Daemon->start(dir => 'none');
is($plain->client->ask("config get cluster\r\n"), 'ERROR', 'without a file there is no such command');
$plain->stop;
done_testing();
