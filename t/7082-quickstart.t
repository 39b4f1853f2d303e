#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# What a newcomer runs first: etc/quickstart, on an overlay of this machine, from the sources to a service that answers, has a
# page to look at, and is warm after a kill -9.
use strict;
use warnings;
use lib 't/lib';
use Cwd qw(abs_path);
use Hearth::Mount;
BEGIN { Hearth::Mount::private() }
use Hearth::Client;
use Hearth::Daemon;
use Hearth::Process qw(build_dir run sanitizer slurp wait_until);
use Test::More;

plan skip_all => 'once is enough' if sanitizer();
my $overlay = Hearth::Mount::mount('-t', 'tmpfs', '-o', 'size=1g,mode=755', 'none') or plan skip_all => 'no tmpfs';
mkdir "$overlay/$_" for qw(upper work);
my $root = Hearth::Mount::mount('-t', 'overlay', '-o', "lowerdir=/,upperdir=$overlay/upper,workdir=$overlay/work", 'none');
plan skip_all => 'no overlay' unless $root;
for (['-t', 'proc', 'none', "$root/proc"], ['--rbind', '/dev', "$root/dev"], ['-t', 'tmpfs', 'none', "$root/run"]) {
	my ($code, undef, $err) = run(['mount', @$_]);
	plan skip_all => "mount @$_: $err" if $code;
}

my ($port, $http) = (Hearth::Daemon::free_port(), Hearth::Daemon::free_port());
my $here = abs_path('.');
my $pid;
END {
	my $status = $?;
	kill 'KILL', $pid if $pid;
	$? = $status;
}
my ($code, $out, $err) = run(['chroot', $root, 'env', "PORT=$port", "HTTP=$http", "BUILD=" . abs_path(build_dir()), 'MAKEFLAGS=',
	"$here/etc/quickstart"], seconds => 600);
$pid = $1 if -e "$root/run/hearthd.pid" && slurp("$root/run/hearthd.pid") =~ /(\d+)/;
is($code, 0, 'it comes to its end') or diag "$out$err";
for my $what ('build and install', 'configure', 'start', 'kill -9', 'look at it') {
	like($out, qr/^== \Q$what\E/m, "it says what it does: $what");
}
like($out, qr/^hello/m, 'the value is there after the kill');
like($out, qr{http://127\.0\.0\.1:$http/}, 'and where to look');
my $client = Hearth::Client->new(port => $port);
is($client->get('greeting'), 'hello', 'the service serves');
is($client->stats('settings')->{maxbytes}, 64 << 20, 'with the memory of its configuration');
my $uid = (stat "/proc/$pid")[4];
my ($user) = slurp("$root/etc/passwd") =~ m{^(\w+):x:$uid:}m;
is($user, 'hearth', 'as a user of its own');
kill 'TERM', $pid;
wait_until('its end', sub { !kill 0, $pid });
undef $pid;
my ($quoted) = slurp('README.md') =~ m{^ {4}(.*etc/quickstart)$}m;
ok($quoted, 'README names it');
done_testing();
