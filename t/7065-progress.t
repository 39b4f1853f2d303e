#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# What takes over a second says on a terminal how far it is, how fast, and how long it will take: each command that reads files,
# from a disk that is slow.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Process qw(program run sanitizer scratch_dir);
use Hearth::Screen;
use Test::More;

plan skip_all => 'strace and a sanitizer do not go together' if sanitizer();

my $daemon = Hearth::Daemon->start(args => ['-m', 64, '--snapshot-interval', 0, '--snapshot-log-ratio', 0]);
my $client = $daemon->client;
for my $round (1 .. 10) {
	$client->put(join '', map { my $v = join('', map { chr(33 + int rand 90) } 1 .. 100) x 200; "set k$_ 0 0 20000 noreply\r\n$v\r\n" } 1 .. 100);
	$client->ask("version\r\n");
}
$daemon->stop;
my ($dir, $scratch) = ($daemon->dir, scratch_dir());
is((run(['cp', '-a', $dir, "$scratch/other"]))[0], 0, 'a copy to compare with');

# Data goes to a file: were it the same terminal, nothing is to be in between.
for my $command (['check', $dir], ['restore', '--to', "$scratch/restored", $dir], ['export', $dir], ['keys', $dir], ['dump', $dir],
	['dump', '--key', 'k1', $dir], ['diff', $dir, "$scratch/other"]) {
	my $s = Hearth::Screen->run(['strace', '-f', '-qq', '-o', '/dev/null', '-e', 'trace=pread64', '-e', 'inject=pread64:delay_enter=60000',
		'/bin/sh', '-c', 'exec "$@" >' . $scratch . '/out', 'sh', program('hearth'), @$command]);
	ok(eval { $s->wait_for(qr/^[a-z ]+\[#*-*\] +\d+ %, \d+ MiB, \d+ [KM]iB\/s, \d+ (?:s|min) left$/m, 60) }, "@$command[0 .. $#$command - 1]: a bar, the rate and the time left") or diag $@;
	kill 'KILL', $s->{pid};
}
done_testing();
