#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# make deb, in make check-long: lintian has nothing to say, and what becomes of a daemon and its data when the packages are
# installed, killed with -9, upgraded, removed, installed again and purged, by the real dpkg. The machine stays as it is: all of
# that happens in an overlay over it. No systemd runs there, so the daemon is started as the unit says.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Mount;
BEGIN { Hearth::Mount::private() }
use Hearth::Client;
use Hearth::Daemon;
use Hearth::Notify;
use Hearth::Process qw(long_run reap run sanitizer scratch_dir slurp spawn spew);
use Test::More;

plan skip_all => 'in make check-long' unless long_run();
plan skip_all => 'packages are built without a sanitizer' if sanitizer();

# What HEARTH_DEB names was built already.
my $packages = $ENV{HEARTH_DEB} // scratch_dir() . '/build/deb';
my ($code, $out, $err);
if (!$ENV{HEARTH_DEB}) {
	($code, $out, $err) = run(['make', '-s', 'deb', 'BUILD=' . $packages =~ s{/deb$}{}r], seconds => 3000,
		env => { MAKEFLAGS => '', MAKELEVEL => '', DEB_BUILD_OPTIONS => 'noopt' });
	is($code, 0, 'make deb') or BAIL_OUT($err);
}
my %deb = map { m{([^/_]+)_[^/]*$} ? ($1 => $_) : () } glob "$packages/*.deb";
is(join(' ', sort keys %deb), 'hearth-tools hearthd libhearth-dev', 'three packages');
($code, $out, $err) = run(['lintian', '--allow-root', '--tag-display-limit', '0', '--fail-on', 'error,warning', glob "$packages/*.changes"], seconds => 600);
is("$code$out", '0', 'lintian has nothing to say') or diag $err;
my $version = do { ($code, $out) = run(['dpkg-deb', '-f', $deb{hearthd}, 'Version']); $out =~ s/\n//r };
like(slurp('Makefile'), qr/^VERSION\s*= \Q$version\E$/m, 'their version is the Makefile\'s');

# ---- a machine of its own ----
my $overlay = Hearth::Mount::mount('-t', 'tmpfs', '-o', 'size=1g,mode=755', 'none') or plan skip_all => 'no tmpfs';
mkdir "$overlay/$_" for qw(upper work);
my $root = Hearth::Mount::mount('-t', 'overlay', '-o', "lowerdir=/,upperdir=$overlay/upper,workdir=$overlay/work", 'none');
plan skip_all => 'no overlay' unless $root;
run(['mount', '--bind', "/$_", "$root/$_"]) for qw(proc dev);
run(['mount', '-t', 'tmpfs', '-o', 'mode=1777', 'none', "$root/tmp"]);
run(['mount', '-t', 'tmpfs', '-o', 'mode=755', 'none', "$root/run"]);
mkdir "$root/tmp/packages";
system 'cp', values %deb, "$root/tmp/packages";
sub inside { my (@command) = @_; return run(['chroot', $root, 'env', 'DEBIAN_FRONTEND=noninteractive', 'PATH=/usr/sbin:/usr/bin:/sbin:/bin', @command], seconds => 300); }
sub dpkg
{
	my ($what, @args) = @_;
	my ($c, $o, $e) = inside('dpkg', @args);
	is($c, 0, $what) or diag $o . $e;
	return;
}
my @names = qw(hearthd hearth-tools libhearth-dev);
my @files = map { "/tmp/packages/" . s{.*/}{}r } @deb{@names};

# ---- the daemon, as the unit starts it ----
my $errors = 0;
my ($pid, $port);
my $told = scratch_dir();
sub up
{
	my ($what) = @_;
	my $unit = slurp("$root/lib/systemd/system/hearthd.service");
	my ($command) = $unit =~ /^ExecStart=(.*)$/m;
	my ($state) = $unit =~ /^StateDirectory=(.*)$/m;
	my ($data) = map { s{%S}{/var/lib}r } $unit =~ /^Environment=(HEARTH_DATA_DIR=.*)$/m;
	is($data, "HEARTH_DATA_DIR=/var/lib/$state", "$what: the data lies in the state directory");
	inside('install', '-d', '-o', 'hearth', '-g', 'hearth', '-m', '700', "/var/lib/$state");
	my $manager = Hearth::Notify->new(abstract => "hearth-deb-$$-" . ++$errors);
	$pid = spawn(['chroot', $root, 'setpriv', '--reuid', 'hearth', '--regid', 'hearth', '--init-groups', '--inh-caps', '-all', '--bounding-set', '-all',
		'--no-new-privs', 'env', '-i', $data, 'NOTIFY_SOCKET=' . $manager->address, split ' ', $command], err => "$told/err$errors");
	ok($manager->await(qr/READY=1/, 120), "$what: it starts") or diag slurp("$told/err$errors");
	return Hearth::Client->new(port => $port);
}
sub down { my ($signal) = @_; kill $signal, $pid; return reap($pid, 60); }

# ---- installed ----
dpkg('installed', '-i', @files);
($code, $out) = inside('dpkg', '-s', 'hearthd');
like($out, qr/^Status: install ok installed$/m, 'in order');
like($out, qr{^ /etc/hearth/hearth\.conf [0-9a-f]{32}$}m, 'the configuration is a conffile');
($code, $out) = inside('getent', 'passwd', 'hearth');
like($out, qr{^hearth:.*:/var/lib/hearth:\S*nologin$}, 'the user is there');
($code, $out) = inside('hearthd', '--config=/etc/hearth/hearth.conf', '--check-config');
is($code, 0, 'the configuration makes sense');
for my $path (map { glob "man/*.$_" } 1, 5, 7, 8) {
	my ($name, $section) = $path =~ m{([^/]+\.(\d))$};
	ok(-e "$root/usr/share/man/man$section/$name.gz", "page $name");
}
$port = Hearth::Daemon::free_port();
my $config = slurp("$root/etc/hearth/hearth.conf") =~ s/^#?\s*port\s*=.*/port = $port/mr;
like($config, qr/^port = $port$/m, 'somebody chooses a port');
spew("$root/etc/hearth/hearth.conf", $config);
my $client = up('installed');
is($client->set("k$_", "value $_"), 'STORED', "k$_ is stored") for 1 .. 3;
is($client->ask("delete k3\r\n"), 'DELETED', 'and one deleted');
($code, $out) = inside('hearth', 'stats', '/var/lib/hearth/hearth');
like($out, qr/^\S*\bcurr_items\s+2$/m, 'the tool finds it') or diag $out;

sub warm
{
	my ($what) = @_;
	is(join(' ', map { $client->get($_) // '-' } qw(k1 k2 k3)), 'value 1 value 2 -', "$what: it has what it had");
	return;
}
is(down('KILL'), 9, 'killed');
$client = up('after kill -9');
warm('after kill -9');

# ---- upgraded while it runs, then started again ----
mkdir "$root/tmp/newer";
for my $name (@names) {
	run(['dpkg-deb', '-R', $deb{$name}, "$root/tmp/newer/$name"]);
	my $control = slurp("$root/tmp/newer/$name/DEBIAN/control") =~ s/^Version: .*$/Version: $version+1/mr =~ s/\(= \Q$version\E\)/(= $version+1)/gr;
	spew("$root/tmp/newer/$name/DEBIAN/control", $control);
	run(['dpkg-deb', '--root-owner-group', '-b', "$root/tmp/newer/$name", "$root/tmp/newer/$name.deb"], seconds => 300);
}
dpkg('upgraded', '-i', map { "/tmp/newer/$_.deb" } @names);
($code, $out) = inside('dpkg-query', '-W', '-f', '${Version} ${Status}', 'hearthd');
is($out, "$version+1 install ok installed", 'the newer version is there');
is(slurp("$root/etc/hearth/hearth.conf"), $config, 'the configuration is as somebody left it');
is(down('TERM'), 0, 'the old daemon stops in order');
$client = up('upgraded');
warm('upgraded');

# ---- removed, and there again ----
is(down('TERM'), 0, 'stopped');
dpkg('removed', '-r', 'hearthd');
ok(!-e "$root/usr/sbin/hearthd" && !-e "$root/lib/systemd/system/hearthd.service", 'the program and its unit are gone');
ok(-e "$root/var/lib/hearth/hearth/MANIFEST", 'the data is not');
is(slurp("$root/etc/hearth/hearth.conf"), $config, 'nor the configuration');
dpkg('installed again', '-i', '/tmp/newer/hearthd.deb');
$client = up('installed again');
warm('installed again');
is(down('TERM'), 0, 'stopped');

# ---- purged ----
spew("$root/etc/hearth/other.conf", "# mine\n");
dpkg('purged', '-P', @names);
ok(!-e "$root/var/lib/hearth", 'the data is gone');
ok(!-e "$root/etc/hearth/hearth.conf", 'so is the configuration');
ok(-e "$root/etc/hearth/other.conf", 'but not what was never the package\'s');
($code, $out) = inside('dpkg-query', '-W', '-f', '${Status}', @names);
isnt($code, 0, 'dpkg knows of nothing any more');
($code, $out) = run(['sh', '-c', 'for deb; do dpkg-deb -c "$deb"; done', 'sh', @deb{@names}]);
my @left = grep { -e "$root$_" && !-d "$root$_" } map { m{ \.(/\S+)} ? $1 : () } split /\n/, $out;
is("@left", '', 'no file of the packages is left');
done_testing();
