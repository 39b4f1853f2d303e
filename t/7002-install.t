#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# make install into a staging directory: everything is there and works from there; another program finds the library by
# pkg-config and builds against it; bash completes what --help lists; make uninstall leaves nothing of its own and all else.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Process qw(build_dir run sanitizer scratch_dir slurp spew);
use Test::More;

plan skip_all => 'the plain build is installed' if sanitizer();

# Its name has what a shell takes for something else; pkg-config's users want one without.
my $stage = scratch_dir() . "/packager's stage";
my $plain = scratch_dir() . '/stage';
mkdir $stage or die "$stage: $!";
symlink $stage, $plain or die "$plain: $!";
sub files { my ($code, $out) = run(['find', $stage, '-type', 'f']); return map { s{^\Q$stage\E/opt/}{}r } sort split /\n/, $out; }
my @where = ("DESTDIR=$stage", 'PREFIX=/opt/hearth', 'SYSCONFDIR=/opt/etc', 'UNITDIR=/opt/units', 'BUILD=' . build_dir());
sub make { my (@args) = @_; return run(['make', '-s', @args, @where], seconds => 600, env => { MAKEFLAGS => '', MAKELEVEL => '' }); }

my ($code, $out, $err) = make('install');
is($code, 0, 'make install') or diag $out . $err;
my $root = "$stage/opt/hearth";
my @files = files();
for my $file (qw(hearth/sbin/hearthd hearth/bin/hearth hearth/lib/libhearth.a hearth/include/hearth/segment.h
    hearth/share/man/man8/hearthd.8 hearth/share/man/man1/hearth.1 hearth/share/man/man5/hearth-log.5
    hearth/share/man/man5/hearth-snapshot.5 hearth/share/man/man7/hearth-protocol.7 hearth/share/man/man7/hearth-recovery.7
    units/hearthd.service units/hearthd@.service units/hearthd.socket hearth/lib/pkgconfig/hearth.pc hearth/lib/sysusers.d/hearth.conf
    hearth/lib/tmpfiles.d/hearth.conf hearth/share/bash-completion/completions/hearth hearth/share/bash-completion/completions/hearthd)) {
	ok((grep { $_ eq $file } @files), $file);
}
my $unit = slurp("$stage/opt/units/hearthd.service");
like($unit, qr{^ExecStart=/opt/hearth/sbin/hearthd\b}m, 'the unit starts the installed program');
unlike($unit, qr/@\w+@/, 'and has no place left open');
like($unit, qr{ --config=/opt/etc/hearth/hearth\.conf$}m, 'and reads its options from SYSCONFDIR');
my @pages = map { s{.*/}{}r } glob 'man/*.[1-8]';
is(scalar(grep { my $page = $_; !grep { m{/\Q$page\E$} } @files } @pages), 0, 'each page of the manual is there: ' . @pages);

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
# The stage is not where it believes to be, but for this.
my %found = (PKG_CONFIG_PATH => "$plain/opt/hearth/lib/pkgconfig", PKG_CONFIG_SYSROOT_DIR => $plain);
($code, my $flags, $err) = run(['pkg-config', '--cflags', '--libs', 'hearth'], env => \%found);
is($code, 0, 'pkg-config knows the library') or diag $err;
($code, $out) = run(['pkg-config', '--modversion', 'hearth'], env => \%found);
like(slurp('Makefile'), qr/^VERSION\s*= \Q$out\E/m, 'and its version');
($code, $out, $err) = run(['gcc', '-Wall', '-Werror', '-o', "$dir/count", "$dir/count.c", split ' ', $flags]);
is($code, 0, 'a program builds against the library') or diag $err;
my ($log) = map { s{.*/}{}r } grep { -s } glob $daemon->dir . '/log-*';
($code, $out) = run(["$dir/count", $daemon->dir, $log]);
is($out, "1\n", 'and reads a live log');
is($daemon->stop, 0, 'stops in order');

# ---- completion ----
# What bash would offer behind these words.
sub offered
{
	my (@words) = @_;
	my $script = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _$1; printf "%s\n" "${COMPREPLY[@]}"';
	my ($c, $o, $e) = run(['bash', '-c', $script, 'bash', "$root/share/bash-completion/completions/$words[0]", @words],
		env => { PATH => "$root/sbin:$root/bin:$ENV{PATH}" });
	is($e, '', "@words: no complaint");
	return join ' ', sort split ' ', $o;
}
# The long options of a --help.
sub listed { my (@command) = @_; my ($c, $o) = run([@command, '--help']); return map { s/^\s*(?:-\w,)?\s+//r } $o =~ /^(\s*(?:-\w,)?\s+--[a-z][a-z-]*)/mg; }

my @long = listed("$root/sbin/hearthd");
cmp_ok(scalar @long, '>', 40, 'hearthd lists options');
is(join(' ', sort split ' ', offered('hearthd', '--') =~ s/=//gr), join(' ', sort @long), 'hearthd: all are offered');
is(offered('hearthd', '--log-fo'), '--log-format=', 'one that takes a value, with its =');
is(offered('hearthd', '--fsync', '=', ''), 'always everysec os', 'choices');
is(offered('hearthd', '--fsync', '=', 'a'), 'always', 'that begin so');
is(offered('hearthd', '--fsync', 'o'), 'os', 'also without =');
is(offered('hearthd', '--user', 'roo'), 'root', 'users');
my ($c, $help) = run(["$root/bin/hearth", '--help']);
my ($commands) = $help =~ /^commands:\n(.*?)\n\n/ms;
my @commands = $commands =~ /^  ([a-z]+) /mg;
cmp_ok(scalar @commands, '>', 8, 'hearth lists commands');
is(offered('hearth', ''), join(' ', sort '--help', '--version', @commands), 'hearth: all are offered');
is(offered('hearth', $_, '--'), join(' ', sort(listed("$root/bin/hearth", $_))), "hearth $_: so are its options") for @commands;
is(offered('hearth', 'bench', '--protocol', 'b'), 'binary', 'a choice of a command');
is(offered('hearth', 'dump', "$dir/cou"), "$dir/count $dir/count.c", 'files');

# ---- away again ----
my %foreign = ('hearth/include/hearth/mine.h' => 1, 'etc/hearth/other.conf' => 1);
for (keys %foreign) {
	system 'mkdir', '-p', "$stage/opt/$_" =~ s{/[^/]*$}{}r;
	spew("$stage/opt/$_", "mine\n");
}
my $config = "$stage/opt/etc/hearth/hearth.conf";
my $changed = slurp($config) . "# mine\n";
spew($config, $changed);
($code, $out, $err) = make('install');
is($code, 0, 'installed once more') or diag $err;
is(slurp($config), $changed, 'a configuration that was changed stays as it is');
($code, $out, $err) = make('uninstall');
is($code, 0, 'make uninstall') or diag $err;
is(join(' ', files()), join(' ', sort keys %foreign, 'etc/hearth/hearth.conf'),
	'leaves what is not its own, and the changed configuration');
unlink $config, map { "$stage/opt/$_" } keys %foreign;
make('install');
($code, $out, $err) = make('uninstall');
is($code, 0, 'installed and taken away') or diag $err;
is(join(' ', files()), '', 'nothing is left');
($code, undef, $err) = run(['make', '-s', 'install', "DESTDIR=$stage", 'PREFIX=/opt/my hearth', 'BUILD=' . build_dir()], env => { MAKEFLAGS => '', MAKELEVEL => '' });
is($code, 2, 'a blank in PREFIX is refused');
like($err, qr/PREFIX, SYSCONFDIR, UNITDIR and BUILD: no blanks/, 'and said why');
is(join(' ', files()), '', 'and nothing was put anywhere');
ok(!-e "$stage/opt/hearth/include/hearth" && !-e "$stage/opt/etc/hearth", 'nor a directory of its own');
done_testing();
