#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# Configuration from a file, the environment and the command line: forms, order, what is refused with file and line, and that
# what --print-config prints is read as the same again.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Process qw(program run scratch_dir slurp spew wait_until);
use Test::More;

my $dir = scratch_dir();
my $file = "$dir/hearth.conf";

# What the options come to: name => value, of a file, an environment and arguments.
sub printed
{
	my ($text, $env, @args) = @_;
	spew($file, $text);
	my ($code, $out, $err) = run([program('hearthd'), "--config=$file", '--print-config', @args], env => $env // {});
	is($code, 0, 'it is printed') or diag $err;
	my %value;
	for (split /\n/, $out) {
		my ($name, $v) = /^([a-z-]+) = (.*)$/ or next;
		$value{$name} = defined $value{$name} ? "$value{$name}\n$v" : $v;
	}
	return (\%value, $out);
}

# Code and message of a file that is refused, one line that names file, line and what is wrong.
sub refused
{
	my ($text, $line, $what) = @_;
	spew($file, $text);
	for my $check ([], ['--check-config']) {
		my ($code, $err) = Hearth::Daemon->refused("--config=$file", @$check, '--data-dir', 'none');
		is($code, 78, "@{[$text =~ s/[^ -~]/?/gr]} is refused @$check");
		like($err, qr/\A.*\Q$file\E line $line: .*$what.*\n\z/, 'in one line that says where and why');
	}
	return;
}

# ---- forms ----
my ($got) = printed(<<'FILE');
# a comment
memory-limit = 100   # and one behind a value
threads=3
  listen = 127.0.0.1:1234
compress = yes
disable-flush-all
verbose = 2
no-persist-prefix = "tmp:#1 "
no-persist-prefix = b:
restart-mode = ttl-cap=60
extended = idle_timeout=9,no_maxconns_fast
FILE
is($got->{'memory-limit'}, 100, 'a number');
is($got->{threads}, 3, 'without blanks');
is($got->{listen}, '127.0.0.1:1234', 'a text');
is($got->{compress}, 'yes', 'a yes');
is($got->{'disable-flush-all'}, 'yes', 'a name alone');
is($got->{verbose}, 2, 'a count');
is($got->{'no-persist-prefix'}, qq("tmp:#1 "\nb:), 'one that may be given again, in quotes where it has to be');
is($got->{'restart-mode'}, 'ttl-cap=60', 'a mode');
is($got->{extended}, 'no_maxconns_fast,idle_timeout=9', 'extended options');
($got) = printed(<<'FILE');
data-dir = "/srv/my #1 cache"   # "one"
log-file = "/a "b" #c"# d"#
unix-socket = "/x" # y
#pidfile = "/a #b"
FILE
is($got->{'data-dir'}, '"/srv/my #1 cache"', 'no comment begins within quotes');
is($got->{'log-file'}, '/a "b', 'which end where nothing or a comment is behind them');
is($got->{'unix-socket'}, '/x', 'a comment behind quotes');
is($got->{pidfile}, undef, 'a comment with quotes in it');
($got) = printed("\xef\xbb\xbfthreads = 3\n");
is($got->{threads}, 3, 'a byte order mark in front');
is($got->{fsync}, 'everysec', 'what nobody names has its default');

# ---- Debian's memcached.conf, as the package has it ----
my $memcached = -e '/etc/memcached.conf' ? slurp('/etc/memcached.conf') : undef;
SKIP: {
	skip 'memcached is not installed', 9 unless $memcached;
	($got) = printed($memcached);
	is($got->{'memory-limit'}, 64, 'memcached.conf: -m');
	is($got->{user}, 'memcache', '-u');
	is($got->{daemon}, 'yes', '-d');
	is($got->{pidfile}, '/var/run/memcached/memcached.pid', '-P');
	like($got->{'log-file'}, qr{^/var/log/}, 'logfile');
	($got) = printed($memcached, { NOTIFY_SOCKET => '/nowhere' });
	ok(!defined $got->{'log-file'}, 'a service manager has the messages');
	is($got->{daemon}, 'no', 'and the process');
}
($got) = printed("-m 32 -p 1\n-vv\n-o idle_timeout=5,modern\n-M\n-l 127.0.0.1 -l 127.0.0.2\n-u\troot\r\n");
is($got->{'memory-limit'}, 32, 'several on a line');
is($got->{verbose}, 2, '-vv');
is($got->{'disable-evictions'}, 'yes', '-M');
is($got->{listen}, '127.0.0.1,127.0.0.2', '-l twice');
is($got->{user}, 'root', 'a tab, and the end of a line as on another system');

# ---- file < environment < command line ----
my $text = "memory-limit = 10\nkeep = 2\nthreads = 2\nlisten = 127.0.0.2\nverbose = 3\nstrict = yes\n";
my %env = (HEARTH_KEEP => 3, HEARTH_THREADS => 5, HEARTH_STRICT => 'no', HEARTH_NO_PERSIST_PREFIX => 'e:');
($got) = printed($text, \%env, '-t', 7, '-l', '127.0.0.3', '-v', '--no-persist-prefix=a:', '--no-persist-prefix=b:');
is($got->{'memory-limit'}, 10, 'the file');
is($got->{keep}, 3, 'the environment is above it');
is($got->{threads}, 7, 'the command line above that');
is($got->{listen}, '127.0.0.3', 'a list does not add up over them');
is($got->{'no-persist-prefix'}, "a:\nb:", 'but within one');
is($got->{verbose}, 1, 'nor does a count');
is($got->{strict}, 'no', 'a yes can be taken back');
($got) = printed($text, { HEARTH_COMPRESS => 'yes' }, '--compress=no', '--strict=off');
is("$got->{compress} $got->{strict}", 'no no', 'on the command line, too');
($got) = printed($text, { HEARTH_PORT => 'tcp://10.0.0.1:11211' });
is($got->{port}, 11211, 'a variable of Kubernetes is left alone');
spew($file, $text);
my ($code, $out, $err) = run([program('hearthd'), '--print-config'], env => { HEARTH_CONFIG => $file });
like($out, qr/^memory-limit = 10$/m, 'HEARTH_CONFIG names the file');
spew("$dir/other", "memory-limit = 11\n");
($code, $out) = run([program('hearthd'), '--print-config', '--config', "$dir/other"], env => { HEARTH_CONFIG => $file });
like($out, qr/^memory-limit = 11$/m, '--config is above it');

# ---- what is printed is the same again ----
(undef, my $first) = printed($text, \%env, '-D', '#', '-M', '-m', 77, '-o', 'idle_timeout=4', '-s', '/a b', '-P', '/a #b', '--eviction=lfu',
	'--restart-mode=stale', '-a', '640', '--no-persist-prefix=#x', '--fsync=always', '-I', '3m', '--snapshot-rate=0');
spew("$dir/printed", $first);
($code, my $second, $err) = run([program('hearthd'), "--config=$dir/printed", '--print-config']);
is($code, 0, 'it can be read') or diag $err;
is($second, $first, 'and says the same');

# What no line can say is not printed as something else.
for my $case (['--data-dir', "/srv/two\nlines", qr/--print-config: --data-dir \/srv\/two\\x0alines: no line of a file can say this/],
	['--log-file', 'a" #b', qr/--print-config: --log-file a" #b: no line/], ['-D', ' ', qr/--print-config: -D +: no line/]) {
	my ($name, $value, $why) = @$case;
	($code, $out, $err) = run([program('hearthd'), $name, $value, '--print-config']);
	is($code, 64, "$name with a value that no line can say");
	like($err, $why, 'is named');
	unlike($out, qr/two|\Q$value\E$/m, 'and not printed');
}
($code, undef, $err) = run([program('hearthd'), "--no-persist-prefix=a\nb", '--check-config']);
is($code, 64, 'nor is one prefix two');
like($err, qr/--no-persist-prefix a\\x0ab: has a line end/, 'which is said');

# ---- refused ----
refused("threads = 2\nno-such-option = 1\n", 2, 'no-such-option.*no option');
refused("\n\nmemory-limit = lots\n", 3, 'memory-limit lots: not a number');
refused("memory-limit\n", 1, 'memory-limit.*needs an argument');
refused("compress = perhaps\n", 1, 'compress perhaps: must be yes or no');
refused("memory-limit 64\n", 1, 'memory-limit 64: neither');
refused("fsync = sometimes\n", 1, 'must be one of always\|everysec\|os');
refused("-x\n", 1, '-x: unknown option');
refused("-m 64 lots\n", 1, 'lots: options only');
refused("-m\n", 1, '-m: needs an argument');
refused("enable-ssl = yes\n", 1, 'enable-ssl');
refused("-o ssl_ca_cert=x\n", 1, 'ssl_ca_cert: TLS');
refused("help\n", 1, 'only on the command line');
refused("-V\n", 1, 'only on the command line');
refused("config = $file\n", 1, 'only on the command line');
refused("m = 64\n", 1, 'no option');
refused("= 64\n", 1, 'no option');
refused("threads = 3\nkeep = 1\0\n", 2, 'zero byte');
refused("threads = 3\nkeep = 1\0", 2, 'zero byte');
for my $http ('nonsense', '65536', '[::1]', '127.0.0.1:80x') {
	spew($file, "http = $http\n");
	($code, undef, $err) = run([program('hearthd'), '--config', $file, '--check-config']);
	is($code, 64, "http = $http: it is checked where");
	like($err, qr/--http \Q$http\E: no port/, 'and said why not');
}
refused('-m ' . '1 ' x 100 . "\n", 1, 'too many words');
for (["$dir/none", 'No such file'], [$dir, 'directory']) {
	my ($path, $why) = @$_;
	($code, $err) = Hearth::Daemon->refused('--config', $path, '--data-dir', 'none');
	is($code, 78, "$path is refused");
	like($err, qr/\A.*--config \Q$path\E: .*$why.*\n\z/, 'with the reason');
}
spew("$dir/long", '#' x (2 << 20));
($code, $err) = Hearth::Daemon->refused('--config', "$dir/long", '--data-dir', 'none');
is("$code " . ($err =~ /too long/ ? 1 : 0), '78 1', 'a file of 2 MiB is refused');
($code, undef, $err) = run([program('hearthd'), '--check-config'], env => { HEARTH_KEEP => 'many' });
is($code, 78, 'an environment that makes no sense is refused');
like($err, qr/HEARTH_KEEP=many: not a number/, 'and named');
($code, undef, $err) = run([program('hearthd'), '--check-config', '-m', 1, '-I', '1m']);
is($code, 64, 'so is a command line, by its own code');
spew($file, "bad\n");
($code, $out) = run([program('hearthd'), '--config', $file, '--version']);
is($code, 0, '--version needs no file that makes sense');
($code, $out, $err) = run([program('hearthd'), '--config=etc/hearth.conf', '--check-config']);
is("$code$out$err", 0, 'the sample makes sense');
my %sample = map { $_ => 1 } slurp('etc/hearth.conf') =~ /^#?([a-z][a-z-]+) = /mg;
($got) = printed(join '', map { /^#([a-z][a-z-]+ = .*)/ ? "$1\n" : '' } split /\n/, slurp('etc/hearth.conf'));
(my $preset) = printed('');
my @named = grep { !/^(?:data-dir|unix-socket|no-persist-prefix|http)$/ && defined $got->{$_} } sort keys %sample;
my @differ = grep { $got->{$_} ne $preset->{$_} } @named;
is("@differ", '', 'what it has in comments are the defaults');
cmp_ok(scalar @named, '>', 15, 'it has more than a few');

# ---- it serves, and logs where it is told ----
my $log = "$dir/log";
spew($file, "-m 80\nlogfile $log\n");
my $daemon = Hearth::Daemon->start(dir => 'none', args => ['--config', $file]);
is($daemon->client->stats('settings')->{maxbytes}, 80 << 20, 'a daemon has what the file says');
like(slurp($log), qr/keeping nothing/, 'its messages are in the log file');
is(sprintf('%o', (stat $log)[2] & 07777), '600', 'which is for its user alone');
is($daemon->errors, '', 'and not on standard error');
rename $log, "$log.1" or die;
kill 'HUP', $daemon->pid;
wait_until('the new log', sub { -s $log });
like(slurp($log), qr/read again/, 'HUP opens it anew');
$daemon->stop;
spew($file, "logfile $dir/no/such/folder/log\n");
($code, $err) = Hearth::Daemon->refused('--config', $file, '--data-dir', 'none');
is($code, 74, 'a log file that cannot be made is refused');
like($err, qr{--log-file \Q$dir\E/no/such/folder/log: No such file}, 'and named');
spew("$dir/file", '');
($code, $err) = Hearth::Daemon->refused('--log-file', $log, '--data-dir', "$dir/file");
is($code, 74, 'a start that fails behind a log file');
like($err, qr{\Q$log\E says why}, 'says where to look');
done_testing();
