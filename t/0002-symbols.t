#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# libhearth.a is for others to link: it never prints, exits, starts a thread or knows the event loop.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Process qw(program run);
use Test::More;

my $forbidden = qr/^(?:
	_*(?:v?f?printf|v?s?n?printf|v?dprintf|v?asprintf)(?:_chk)? | f?puts | f?putc | putchar | perror | fwrite | psignal
	| exit | _exit | _Exit | quick_exit | __assert_fail | errx? | v?warnx? | syslog
	| pthread_create | thrd_create | fork | event_\w+ | evbuffer_\w+ | bufferevent_\w+ | stdout | stderr
)$/x;

my $library = program('libhearth.a');
my ($code, $out, $err) = run(['nm', '-A', $library]);
is($code, 0, "nm reads $library") or diag $err;
my @undefined = $out =~ /^(\S+:\s+U \S+)$/mg;
cmp_ok(scalar @undefined, '>', 20, 'it names what it needs');
my @found = grep { (split ' ')[-1] =~ $forbidden } @undefined;
is(join("\n", @found), '', 'nothing that prints, exits, starts a thread');

like($_, $forbidden, "the list knows $_") for qw(printf __fprintf_chk snprintf vsnprintf exit event_base_new);
unlike($_, $forbidden, "the list lets $_ pass") for qw(abort memcpy pwrite);

# What it defines has prefixes of its own: nothing that a program that links it would define, too.
my @defined = $out =~ /^\S+ [0-9a-f]+ [TDBC] (\S+)$/mg;
my $prefix = qr/^(?:hearth|record|keyblock|keyset|block|segment|snapshot|datadir|manifest|vfs|crc32c|buf|check|bytes|hash|clock|msg|nodump)_/;
is(join(' ', grep { !/$prefix/ && !/^_/ } @defined), '', 'what it defines begins with the name of its file');
# The tool links the daemon's engine behind its own objects: a name of both would be the tool's to the engine as well.
my %daemon;
for my $of (['libdaemon.a'], ['libhearth.a']) {
	my ($status, $names) = run(['nm', program($of->[0])]);
	$daemon{$_} = 1 for $names =~ /^[0-9a-f]+ [TDBC] (\S+)$/mg;
}
($code, $out) = run(['nm', glob(program('tool') . '/*.o')]);
my @of_tool = $out =~ /^[0-9a-f]+ [TDBC] (\S+)$/mg;
cmp_ok(scalar @of_tool, '>', 100, 'the tool has functions');
is(join(' ', grep { $daemon{$_} } @of_tool), '', 'none of them has the name of one of the daemon');
done_testing();
