#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# make install into a staging directory: everything is there and works from there; another program builds against the
# library; make uninstall leaves nothing.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Process qw(build_dir run sanitizer scratch_dir slurp spew);
use Test::More;

plan skip_all => 'the plain build is installed' if sanitizer();

my $stage = scratch_dir();
my @where = ("DESTDIR=$stage", 'PREFIX=/opt/hearth', 'SYSCONFDIR=/opt/etc', 'UNITDIR=/opt/units', 'BUILD=' . build_dir());
sub make { my (@args) = @_; return run(['make', '-s', @args, @where], seconds => 600, env => { MAKEFLAGS => '', MAKELEVEL => '' }); }

my ($code, $out, $err) = make('install');
is($code, 0, 'make install') or diag $out . $err;
my $root = "$stage/opt/hearth";
my @files = map { s{^\Q$stage\E/opt/}{}r } split /\n/, `find $stage -type f | sort`;
for my $file (qw(hearth/sbin/hearthd hearth/bin/hearth hearth/lib/libhearth.a hearth/include/hearth/segment.h
    hearth/share/man/man8/hearthd.8 hearth/share/man/man1/hearth.1 hearth/share/man/man5/hearth-log.5
    hearth/share/man/man5/hearth-snapshot.5 hearth/share/man/man7/hearth-protocol.7 hearth/share/man/man7/hearth-recovery.7 units/hearthd.service)) {
	ok((grep { $_ eq $file } @files), $file);
}
my $unit = slurp("$stage/opt/units/hearthd.service");
like($unit, qr{^ExecStart=/opt/hearth/sbin/hearthd\b}m, 'the unit starts the installed program');
unlike($unit, qr/@\w+@/, 'and has no place left open');
like($unit, qr{^EnvironmentFile=-/opt/etc/default/hearthd}m, 'and reads its options from SYSCONFDIR');

my $daemon = Hearth::Daemon->start(program => "$root/sbin/hearthd");
$daemon->client->set('k', 'installed');
($code, $out, $err) = run(["$root/bin/hearth", 'dump', $daemon->dir]);
like($out, qr/\bk\b/, 'the installed programs work together');

# A program that has nothing but what was installed.
my $dir = scratch_dir();
spew("$dir/count.c", <<'C');
#include <fcntl.h>
#include <stdio.h>
#include <hearth/segment.h>
int main(int argc, char **argv)
{
	struct segment_reader *reader;
	struct segment_block block;
	struct hearth_error error;
	int dir = open(argc > 2 ? argv[1] : ".", O_RDONLY | O_DIRECTORY);
	unsigned records = 0;
	if (segment_open(&reader, NULL, dir, argv[2], NULL, &error) != HEARTH_OK)
		return 1;
	while (segment_next(reader, &block, &error) == HEARTH_OK)
		records += block.head.count;
	segment_close(&reader);
	printf("%u\n", records);
	return 0;
}
C
($code, $out, $err) = run(['gcc', '-Wall', '-Werror', "-I$root/include", '-o', "$dir/count", "$dir/count.c",
	"$root/lib/libhearth.a", '-lzstd', '-pthread']);
is($code, 0, 'a program builds against the library') or diag $err;
my ($log) = map { s{.*/}{}r } grep { -s } glob $daemon->dir . '/log-*';
($code, $out) = run(["$dir/count", $daemon->dir, $log]);
is($out, "1\n", 'and reads a live log');
is($daemon->stop, 0, 'stops in order');

($code, $out, $err) = make('uninstall');
is($code, 0, 'make uninstall') or diag $err;
is(`find $stage -type f`, '', 'leaves nothing');
done_testing();
