#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# hearth export and import: hostile items go from memcached to Hearth and back, through each format, live and from files, and
# arrive with every byte, flag and second; what is no item is named with its line.
use strict;
use warnings;
use feature 'state';
use lib 't/lib';
use Hearth::Daemon;
use Hearth::Files qw(newest);
use Hearth::Process qw(program run scratch_dir slurp spew spawn reap);
use IO::Socket::INET;
use JSON::PP;
use MIME::Base64;
use Time::HiRes ();
use Test::More;

my $limits = [-m => 64, -I => '2m'];
sub hearth { my (@args) = @_; return run([program('hearth'), @args]); }
sub at { my ($server) = @_; return '127.0.0.1:' . $server->port; }

# The summary of an import that must end with this code.
sub import_ok
{
	my ($expected, $what, @args) = @_;
	my ($code, $out, $err) = hearth('import', '--json', @args);
	is($code, $expected, $what) or diag $err;
	return ({ %{ decode_json($out) } }, $err);
}

# The same for a file of these contents, into this server.
sub import_file
{
	my ($expected, $what, $server, $format, $content, @args) = @_;
	state $files = scratch_dir();
	my $file = "$files/file";
	spew($file, $content);
	my ($sum, $err) = import_ok($expected, $what, '--format', $format, '--server', at($server), @args, $file);
	return ($sum, $err, $file);
}

sub empty { my ($server) = @_; $server->client->ask("flush_all\r\n"); return; }

# What it prints on a terminal.
sub on_terminal { my (@args) = @_; return run(['script', '-qec', join(' ', program('hearth'), @args), '/dev/null'], env => { TERM => 'xterm' }); }

# ---- items that break what is written carelessly ----
my $now = time;
my %items; # key => [value, flags, expiry]
{
	my $all = join '', map { chr } 0 .. 255;
	my @values = ('', 'plain', $all, "a\r\nb\n", "END\r\n", '"quoted","csv"', "\xe2\x82\xac\xf0\x9f\x98\x80", "\xff\xfe", "\0", ',', "\\u0000\\",
		'{"json":true}', "\xc2\x85", 'x' x 1_000_000, "\r\nset a 0 0 1\r\nx\r\n", ' ', "\n", '=1+1');
	my @keys = ('k', 'key,comma', 'key"quote', "gr\xc3\xbc\xc3\x9fe", "no\xffutf8", 'a' x 250, '%41', '\\x41', '{}', "'", "\xf0\x9f\x98\x80", 'user:1',
		'user:2', '-1', '0', 'END', 'csv;', '=cmd');
	my @flags = (0, 1, 4_294_967_295, 77);
	my @expiry = (0, $now + 1000, $now + 86_400, $now + 40 * 86_400, 2_100_000_000);
	$items{ $keys[$_] } = [$values[$_], $flags[$_ % @flags], $expiry[$_ % @expiry]] for 0 .. $#keys;
}
# Keys that only base64 can name, and one that it need not.
my %binary = ("\0\1\2" => ["\xff", 5, 0], "a b\r\n" => ['spaces', 6, $now + 5000], 'legal' => ['text', 7, 0], "\x7f" x 186 => ['long', 0, 0]);

sub fill
{
	my ($c) = @_;
	for (sort keys %items) {
		my ($value, $flags, $expiry) = @{ $items{$_} };
		is($c->set($_, $value, flags => $flags, exptime => $expiry), 'STORED', 'set');
	}
	for (sort keys %binary) {
		my ($value, $flags, $expiry) = @{ $binary{$_} };
		my $key = encode_base64($_, '');
		is($c->ask("ms $key " . length($value) . " b F$flags T$expiry\r\n$value\r\n"), 'HD', 'ms');
	}
	return;
}

# When each item expires, -1 = never.
sub expiries
{
	my ($c) = @_;
	my %exp;
	$c->put("lru_crawler metadump all\r\n");
	while (1) {
		my $line = $c->dump_line // die 'the connection ended';
		return \%exp if $line eq 'END';
		my ($key, $exp) = $line =~ /^key=(\S+) exp=(-?\d+) / or next;
		$exp{ $key =~ s/%([0-9A-Fa-f]{2})/chr hex $1/ger } = $exp;
	}
}

# What is wrong with a server's items, '' when nothing is.
sub wrong
{
	my ($c) = @_;
	my @wrong;
	my $exp = expiries($c);
	for my $key (sort(keys %items), sort keys %binary) {
		my ($value, $flags, $expiry) = @{ $items{$key} // $binary{$key} };
		my $name = $binary{$key} ? encode_base64($key, '') . ' b' : $key;
		my $shown = encode_base64($key, '');
		my $line = $c->ask("mg $name f t k v\r\n");
		if ($line !~ /^VA (\d+) f(\d+) t(-?\d+) k(\S+)( b)?$/) {
			push @wrong, "$shown: $line";
			next;
		}
		my ($size, $got_flags, $left, $as, $b) = ($1, $2, $3, $4, $5);
		my $got = $c->bytes($size + 2);
		push @wrong, "$shown: another value" if $got ne "$value\r\n";
		push @wrong, "$shown: flags $got_flags, not $flags" if $got_flags != $flags;
		my $due = $expiry || -1;
		# As a time: what is left hangs on a clock that a busy machine lets tick late.
		push @wrong, "$shown: expires at $exp->{$key}, not $due" if $exp->{$key} != $due || ($left < 0) != !$expiry;
		push @wrong, "$shown: binary or not" if $binary{$key} ? !$b : $b;
	}
	my $n = $c->stats->{curr_items};
	my $expected = keys(%items) + keys %binary;
	push @wrong, "$n items, not $expected" if $n != $expected;
	return join "\n", @wrong;
}

my $memcached = Hearth::Daemon->start(program => '/usr/bin/memcached', args => $limits);
fill($memcached->client);
is(wrong($memcached->client), '', 'memcached has them');
my $n = keys(%items) + keys %binary;

# ---- from server to server ----
my $daemon = Hearth::Daemon->start(args => $limits);
my ($sum) = import_ok(0, 'from memcached into Hearth', '--from', at($memcached), '--server', at($daemon));
is($sum->{stored}, $n, 'all are stored');
is(wrong($daemon->client), '', 'and right');
my $back = Hearth::Daemon->start(program => '/usr/bin/memcached', args => $limits);
($sum) = import_ok(0, 'from Hearth into memcached', '--from', at($daemon), '--server', at($back));
is(wrong($back->client), '', 'and right');
is($memcached->client->stats->{cmd_touch}, 0, 'nothing was touched');
$daemon->crash;
is(wrong($daemon->client), '', 'after kill -9 it is all there');

# ---- through each format, from a live server, from a live directory, from a snapshot and from a stopped directory ----
my $dir = scratch_dir();
my ($code, $out, $err) = hearth('snapshot', $daemon->dir);
is($code, 0, 'a snapshot');
my $target = Hearth::Daemon->start(args => $limits);
my %text;
sub round_trip
{
	my ($what, @from) = @_;
	for my $format (qw(ndjson csv text)) {
		($code, $out, $err) = hearth('export', '--format', $format, @from);
		is("$code$err", '0', "export --format $format, $what");
		$text{$what}{$format} = join '', sort split /^/, $out;
		my $exported = $out;
		unlike($out, qr/[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]/, 'without control bytes') if $format ne 'text';
		for my $to ($target, $back) {
			empty($to);
			($sum, $err) = import_file(0, "import --format $format", $to, $format, $exported);
			is("$sum->{stored} $sum->{skipped} $sum->{refused} $sum->{invalid}$err", "$n 0 0 0", 'all of it');
			is(wrong($to->client), '', 'and right');
		}
	}
	return;
}
round_trip('memcached', '--server', at($memcached));
round_trip('a running Hearth', '--server', at($daemon));
round_trip('a live directory', $daemon->dir);
round_trip('a snapshot', newest($daemon->dir, 'snapshot'));
is($daemon->stop, 0, 'stops in order');
round_trip('a stopped directory', $daemon->dir);

# From standard input, and replayed without the tool.
my $text = scratch_dir() . '/text';
($code, $out) = hearth('export', '--format', 'text', $daemon->dir);
spew($text, $out);
empty($back);
my $answers = $back->client->stream($out);
is($answers =~ s/STORED\r\n|HD\r\n//gr, '', 'memcached takes the commands as they are');
is(wrong($back->client), '', 'and they are right');
empty($target);
($code, $out, $err) = run([program('hearth'), 'import', '--format', 'text', '--server', at($target), '-'], in => $text);
is("$code$err", '0', 'from standard input');
like($out, qr/^$n stored \(\d+ bytes\), 0 skipped, 0 expired, 0 refused, 0 invalid, in [\d.]+ s\n\z/, 'a summary for people');
is(wrong($target->client), '', 'all right');

# Relative times are seconds from the export.
my ($relative) = (hearth('export', '--format', 'text', '--relative', $daemon->dir))[1];
my ($seconds) = $relative =~ /^set key,comma \d+ (\d+) /m;
cmp_ok(abs($seconds - ($now + 1000 - time)), '<=', 10, '--relative: what is left');
like($relative, qr/^set gr\xc3\xbc\xc3\x9fe 77 \Q@{[$now + 40 * 86_400]}\E /m, 'beyond 30 days a time');

# ---- memcached-tool dump is text, too ----
my $old = Hearth::Daemon->start(program => '/usr/bin/memcached');
$old->client->set("t$_", "v$_", flags => $_, exptime => $now + 900) for 1 .. 30;
($code, $out) = run(['/usr/share/memcached/scripts/memcached-tool', at($old), 'dump']);
empty($target);
($sum) = import_file(0, 'what memcached-tool dump printed', $target, 'text', $out);
is($sum->{stored}, 30, 'is imported');
is_deeply($target->client->gets('t7')->{flags}, 7, 'with flags');

# ---- a cas that a client has chosen is of 64 bits ----
$old = Hearth::Daemon->start;
is($old->client->ask("ms wide 1 E18446744073709551615\r\nx\r\n"), 'HD', 'the largest cas');
for my $format (qw(ndjson csv text)) {
	($code, $out) = hearth('export', '--format', $format, '--server', at($old));
	spew("$dir/wide", $out);
	$target->client->ask("flush_all\r\n");
	($sum) = import_ok(0, "its item as $format", '--format', $format, '--server', at($target), "$dir/wide");
	is($target->client->get('wide'), 'x', 'is there');
}

# ---- what was invalidated stays so: nobody is kept from making another value, and nowhere does it become valid ----
# A memcached that does not move items about while it lists them, as it would leave some out.
for my $from (Hearth::Daemon->start, Hearth::Daemon->start(program => '/usr/bin/memcached', args => ['-o', 'no_lru_maintainer'])) {
	my ($what, $s) = ($from->{hearth} ? 'Hearth' : 'memcached', $from->client);
	my $binary = encode_base64("o\0d", '');
	is($s->ask("ms $_\r\nold\r\n"), 'HD', "$what: a value") for 'gone 3', 'good 3', "$binary 3 b", 'won 3';
	is($s->ask("md $_ I\r\n"), 'HD', 'invalidated') for 'gone', "$binary b", 'won';
	like($s->ask("mg won\r\n"), qr/^HD (?=.*W).*X/, 'one is being made anew');
	is($s->ask("mg place N60\r\n"), 'HD W', 'one for the first time');
	my @live = ('--server', at($from));
	for my $run (['keys', @live], ['export', @live], ['export', '--stale', @live], ['import', '--from', at($from), '--server', at($target)]) {
		$target->client->ask("flush_all\r\n");
		($code, $out, $err) = hearth(@$run);
		is($code, 0, "@$run[0, 1]") or diag $err;
		like($s->ask("mg gone t\r\n"), qr/^HD t-1 (?=.*W).*X/, 'whoever gets it next is told to make another value');
		like($s->ask("mg $binary b\r\n"), qr/^HD (?=.*W).*X/, 'also of a binary key');
		$s->ask("md $_ I\r\n") for 'gone', "$binary b";
		like($s->ask("mg won\r\n"), qr/^HD (?=.*Z).*X/, 'where somebody was told nobody else is');
		next if "@$run" =~ /keys|stale/;
		is($out =~ /"key":"good"|1 stored/ ? 1 : 0, 1, 'what is valid is there');
		unlike($out, qr/"key":"(?:gone|won|place)|key_b64/, 'and nothing else');
		like($err, qr/^hearth: warning: 4 items were invalidated or are being made, and are left out: --stale takes them$/m, 'which is told');
	}
	is($target->client->get('gone'), undef, 'the import did not make it valid');
	($sum) = import_ok(0, 'import --stale', '--stale', '--from', at($from), '--server', at($target));
	is($sum->{stored}, 5, 'takes all');
	next unless $from->{hearth};
	is((hearth('export', $from->dir))[1] =~ tr/\n//, 1, 'of files the valid one');
	is((hearth('export', '--stale', $from->dir))[1] =~ tr/\n//, 5, 'or, when asked, all');
}
is((hearth('import', '--stale', '--server', at($target), "$dir/wide"))[0], 64, 'a file does not say what is stale');

# ---- --skip-existing, --prefix ----
my $c = $target->client;
empty($target);
$c->set('user:1', 'mine');
($code, $out) = hearth('export', $daemon->dir);
spew("$dir/all", $out);
($sum) = import_ok(0, '--skip-existing', '--skip-existing', '--prefix', 'user:', '--server', at($target), "$dir/all");
is("$sum->{stored} $sum->{skipped}", '1 1', 'one was there');
is($c->get('user:1'), 'mine', 'it stays');
is($c->get('k'), undef, '--prefix leaves others out');
($sum) = import_ok(0, 'without it', '--prefix', 'user:', '--server', at($target), "$dir/all");
is($sum->{stored}, 2, 'both');
is($c->get('user:1'), $items{'user:1'}[0], 'it is overwritten');
$c->set('user:1', 'mine');
($sum) = import_ok(0, 'from a server', '--skip-existing', '--prefix', 'user:', '--server', at($target), '--from', at($memcached));
is("$sum->{stored} $sum->{skipped}", '0 2', 'the same');
is((hearth('export', '--prefix', 'user:', $daemon->dir))[1] =~ tr/\n//, 2, 'export --prefix');

# ---- --rate, --byte-rate: never faster ----
spew("$dir/rate", join '', map { encode_json({ key => "r$_", value => 'x' x 100 }) . "\n" } 1 .. 200);
for my $option (['--rate', 200], ['--byte-rate', 20_000]) {
	($sum) = import_ok(0, "@$option", @$option, '--server', at($target), "$dir/rate");
	is($sum->{stored}, 200, 'all');
	cmp_ok($sum->{seconds}, '>=', 0.9, 'no faster than told');
}

# ---- on a terminal a line says how far it is; nowhere else ----
my @slowly = ('import', '--rate', 100, '--server', at($target));
($code, $out, $err) = on_terminal(@slowly, "$dir/rate");
is($code, 0, 'import on a terminal') or diag $err;
like($out, qr{importing \[#+-*\] \d+ %, \d+ KiB, \d+ KiB/s, \d+ s left\e\[K\r}, 'a bar, the rate and the time left');
like($out, qr/\e\[K200 stored /, 'which is taken away in the end');
spew("$dir/broken", slurp("$dir/rate") . "no item\n");
(undef, $out) = on_terminal(@slowly, "$dir/broken");
like($out, qr/left\e\[K\r\e\[Khearth: error: \S+, line 201: no JSON/, 'a message takes it away, too');
($code, $out, $err) = hearth(@slowly, "$dir/rate");
is("$code$err", '0', 'elsewhere nothing');

# ---- what has expired, what is refused ----
my $expired = qq({"key":"e","value":"x","exp":1}\n{"key":"l","value":"x","exp":@{[time + 100_000]}}\n{"key":"t","value":"x","ttl":50}\n);
($sum) = import_file(0, 'expired items', $target, 'ndjson', $expired);
is("$sum->{stored} $sum->{expired}", '2 1', 'are counted');
like($c->ask("mg t t\r\n"), qr/^HD t(?:50|4\d)$/, 'a ttl counts from now');
import_file(0, 'an expiry after 2038', $_, 'ndjson', qq({"key":"far","value":"x","exp":4102444800}\n)) for $target, $back;
my ($left) = $c->ask("mg far t\r\n") =~ /t(\d+)/;
cmp_ok(abs($left - 4_102_444_800 + time), '<=', 10, 'Hearth takes it');
($left) = $back->client->ask("mg far t\r\n") =~ /t(\d+)/;
cmp_ok(abs($left - 2_147_483_647 + time), '<=', 10, 'for memcached it is the last second that there is');
my $small = Hearth::Daemon->start(program => '/usr/bin/memcached', args => ['-I', '512k', '-m', 64]);
for my $to ($small, Hearth::Daemon->start(args => ['-I', '512k'])) {
	($sum, $err) = import_ok(2, 'a server that takes no large values', '--server', at($to), "$dir/all");
	is("$sum->{stored} $sum->{refused}", $n - 1 . ' 1', 'all but one');
	my ($line) = grep { (split /^/, slurp("$dir/all"))[$_ - 1] =~ /x{1000}/ } 1 .. $n;
	like($err, qr/^hearth: error: \Q$dir\E\/all, line $line: \S+: SERVER_ERROR object too large/m, 'named with file and line');
}

# ---- what is no item ----
sub bad
{
	my ($format, $content, $line, $why, $stored) = @_;
	my ($s, $e, $file) = import_file(65, "$format: $why", $target, $format, $content);
	like($e, qr/^hearth: error: \Q$file\E, line $line: .*$why/m, "in line $line");
	is($s->{stored}, $stored, "$stored are stored all the same");
	unlike($e, qr/[\x00-\x09\x0b-\x1f\x7f]/, 'no control byte in the message');
	return;
}
my $good = qq({"key":"good","value":"x"}\n);
bad('ndjson', "$good\n{\"key\":\n$good", 3, 'no JSON', 2);
bad('ndjson', $good . "[1]\n", 2, 'no object', 1);
bad('ndjson', $good . qq({"value":"x"}\n), 2, 'key is missing', 1);
bad('ndjson', $good . qq({"key":"k"}\n), 2, 'value is missing', 1);
bad('ndjson', $good . qq({"key":"","value":"x"}\n), 2, 'key is missing or empty', 1);
bad('ndjson', $good . qq({"key":"@{['k' x 251]}","value":"x"}\n), 2, '251 bytes', 1);
bad('ndjson', $good . qq({"key":1,"value":"x"}\n), 2, '"key" is no string', 1);
bad('ndjson', $good . qq({"key":"k","key_b64":"aw==","value":"x"}\n), 2, 'both there', 1);
bad('ndjson', $good . qq({"key":"k","value_b64":"x"}\n), 2, 'no base64', 1);
bad('ndjson', $good . qq({"key":"k","value":"x","flags":4294967296}\n), 2, '"flags" is out of range', 1);
bad('ndjson', $good . qq({"key":"k","value":"x","flags":"1"}\n), 2, 'no whole number', 1);
bad('ndjson', $good . qq({"key":"k","value":"x","exp":1.5}\n), 2, 'no whole number', 1);
bad('ndjson', $good . qq({"key":"k","value":"x","exp":1e17}\n), 2, 'no whole number', 1);
bad('ndjson', $good . qq({"key":"k","value":"x","exp":18446744073709551615}\n), 2, 'no whole number', 1);
bad('ndjson', $good . qq({"key":"k","value":"x","note":1e999}\n), 2, 'no JSON: real number overflow', 1);
bad('ndjson', $good . qq({"key":"k","value":"x","binary_key":1}\n), 2, 'neither true nor false', 1);
bad('ndjson', $good . "{\"key\":\"\xff\",\"value\":\"x\"}\n", 2, 'no JSON', 1);
bad('ndjson', $good . qq({"key":"k","value":"x","value":"y"}\n), 2, 'no JSON', 1);
bad('ndjson', $good . '[' x 100_000 . "\n", 2, 'no JSON', 1);
bad('csv', "key,value\r\ngood,x\r\nk\r\ngood2,y\r\n", 3, '1 fields', 2);
bad('csv', "key,value\ngood,x\n\"a\nb\",\"x\" y\ngood2,y\n", 3, 'closing quote', 2);
bad('csv', "key,value\ngood,x\nbad,\"x\"\r", 3, 'closing quote', 1);
bad('csv', "key,value\ngood,x\nbad,\"x\"\ry\ngood2,y\n", 3, 'closing quote', 2);
bad('csv', "key,value\ngood,x\na\"b,x\ngood2,y\n", 3, 'quote inside', 2);
bad('csv', "key,value\ngood,x\n\"open,x\ngood2,y\n", 3, 'not closed', 1);
bad('csv', "name,value\ngood,x\n", 1, 'does not name the columns', 0);
bad('csv', "key,value,key\ngood,x,y\n", 1, 'same name', 0);
bad('csv', "key,value,flags\ngood,x,1\ngood,x,z\n", 3, 'no whole number', 1);
bad('csv', "key,key_b64,value\ngood,Z29vZA==,1\n", 2, 'key is there twice', 0);
bad('csv', "key,value\n,x\n", 2, 'key is missing', 0);
bad('csv', "key,value\n" . ('a,' x 100) . "b\n", 2, 'more than 64 fields', 0);
bad('text', "set good 0 0 1\r\nx\r\nget good\r\n", 3, 'neither set', 1);
bad('text', "set good 0 0 3\r\na\nb\r\nset good 0 0 5\r\nx\r\n", 4, 'ends inside the value', 1);
bad('text', "set good 0 0 1\r\nxyz\r\n", 1, 'longer than the 1 bytes', 0);
bad('text', "set good 0 0 -1\r\nxyz\r\n", 1, 'neither set', 0);
bad('text', "set good 0 0 99999999999\r\nxyz\r\n", 1, 'neither set', 0);
bad('text', "ms ??? 1 b\r\nx\r\n", 1, 'neither set', 0);
bad('text', "ms good 1 Q\r\nx\r\n", 1, 'neither set', 0);
bad('text', "set " . 'k' x 251 . " 0 0 1\r\nx\r\nset good 0 0 1\r\nx\r\n", 1, '251 bytes', 1);
bad('text', "set a\0b 0 0 1\r\nx\r\n", 1, 'neither set', 0);
($sum, $err) = import_file(65, 'many bad lines', $target, 'ndjson', "no json\n" x 100);
is($sum->{invalid}, 100, 'all are counted');
is($err =~ tr/\n//, 21, 'and the first are named');

# Good variants.
sub good
{
	my ($format, $content, $key, $value) = @_;
	import_file(0, "$format: $key", $target, $format, $content);
	is($c->get($key), $value, 'is there');
	return;
}
good('csv', qq(value,note,key\n"a ""b""\nc",ignored,v1), 'v1', qq(a "b"\nc));
good('csv', qq(key,value\n\nv2,\n), 'v2', '');
good('ndjson', qq({"value":"x\\u0000y","other":{"a":[1]},"key":"v3","exp":null,"flags":null}), 'v3', "x\0y");
good('ndjson', qq({"key":"v7","value":"x","cas":18446744073709551615,"flags":4294967295,"exp":4102444800}), 'v7', 'x');
like($c->ask("mg v7 f t\r\n"), qr/^HD f4294967295 t[1-9]\d{6,}$/, 'beside a number of 64 bits the others are exact');
good('ndjson', qq({"key":"v8","value":"x","ttl":100,"exp":null}), 'v8', 'x');
like($c->ask("mg v8 t\r\n"), qr/^HD t(?:100|9\d)$/, 'an exp that is null leaves the ttl alone');
good('csv', qq(\xef\xbb\xbfkey,value\r\nv9,a\r\n), 'v9', 'a');
good('csv', qq(\xef\xbb\xbf"value","key"\r\nb,v9\r\n), 'v9', 'b');
good('ndjson', qq(\xef\xbb\xbf{"key":"v9","value":"c"}\n), 'v9', 'c');
good('ndjson', qq({"key":"v4","value_b64":""}\r\n), 'v4', '');
good('text', "\r\nadd v5 1 0 2 noreply\r\n\r\n\r\n", 'v5', "\r\n");
good('text', "ms v6 1 F3 T-1 MS\r\nx\r\nms v6 1 O123 q k\nz\n", 'v6', 'z');

# ---- connections ----
my $free = Hearth::Daemon::free_port();
for (['--server', "127.0.0.1:$free", "$dir/all"], ['--server', at($target), '--from', "127.0.0.1:$free"]) {
	($code, $out, $err) = hearth('import', @$_);
	is($code, 69, 'nobody listens: 69') or diag $err;
}
spew("$dir/many", join '', map { encode_json({ key => "m$_", value => 'y' x 1000 }) . "\n" } 1 .. 20_000);
my $victim = Hearth::Daemon->start(args => [-m => 64]);
my $pid = spawn([program('hearth'), 'import', '--json', '--rate', 5000, '--server', at($victim), "$dir/many"], out => "$dir/sum", err => "$dir/err");
Hearth::Process::wait_until('items', sub { $victim->client->stats->{curr_items} > 2000 });
$victim->kill9;
is(reap($pid, 60) >> 8, 74, 'a server that dies: 74');
$sum = decode_json(slurp("$dir/sum"));
cmp_ok($sum->{stored}, '>=', 1000, 'what it had answered is counted');
like(slurp("$dir/err"), qr/\A\S+: error: 127\.0\.0\.1:\d+: \S.*\n\z/, 'and it is named, once');
$victim->up;
cmp_ok($victim->client->stats->{curr_items}, '>=', $sum->{stored}, 'and kept');
($sum) = import_ok(0, 'again, what was there stays', '--skip-existing', '--server', at($victim), "$dir/many");
is($sum->{stored} + $sum->{skipped}, 20_000, 'all of it');
cmp_ok($sum->{skipped}, '>=', 1000, 'some were there');
is($victim->client->stats->{curr_items}, 20_000, 'no item is missing');

spew("$dir/expired", $expired);
# A server of before meta commands, and one that answers what none should.
for my $answer ("ERROR\r\n", "SERVER_ERROR \e[31mno\r\n", '') {
	my $port = Hearth::Daemon::free_port();
	my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 5, ReuseAddr => 1) or die "listen: $!";
	$pid = fork // die "fork: $!";
	if (!$pid) {
		my $s = $listener->accept;
		my $n = 0;
		while (<$s>) {
			print {$s} /^stats/ ? "ERROR\r\n" : $answer if /^(?:stats|ms) /;
			$s->flush;
			last if $answer eq '' && /^ms /;
		}
		exit 0;
	}
	close $listener;
	($sum, $err) = import_ok($answer =~ /^S/ ? 2 : 74, 'a server that stores nothing', '--server', "127.0.0.1:$port", "$dir/expired");
	is("$sum->{stored} $sum->{refused}", $answer =~ /^S/ ? '0 2' : '0 0', 'nothing counts as stored');
	like($err, $answer =~ /^S/ ? qr/line 3: t: SERVER_ERROR \\x1b/ : $answer ? qr/does not know meta commands/ : qr/closed from the other side|reset/, 'and why');
	waitpid $pid, 0;
}

# The last of all times, of a server whose clock is behind.
{
	my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0, Listen => 5) or die "listen: $!";
	$pid = fork // die "fork: $!";
	if (!$pid) {
		my @s = map { scalar $listener->accept } 1 .. 2;
		my %answer = (stats => "END\r\n", lru_crawler => "key=a exp=9223372036854775807 la=1\r\nkey=b exp=-1 la=1\r\nEND\r\n",
			mg => "VA 1 s1 f0 c1 t9223372036854775807\r\nx\r\n");
		# Names come on the first connection, and are asked for behind `stats` on the second.
		for my $s (@s[1, 0, 1]) {
			for (1 .. ($s != $s[0] && $answer{stats} eq '' ? 2 : 1)) {
				my ($word) = scalar(<$s>) =~ /^(\w+)/;
				syswrite $s, $answer{$word};
				$answer{stats} = '' if $word eq 'stats';
			}
		}
		exit 0;
	}
	($code, $out, $err) = hearth('export', '--server', '127.0.0.1:' . $listener->sockport);
	is("$code$err", '0', 'an item that expires at the end of time');
	is(scalar(() = $out =~ /"exp":9223372036854775807,/g), 2, 'does so elsewhere, too');
	waitpid $pid, 0;
}

# ---- wrong use ----
for (['export'], ['export', '--format', 'xml', $dir], ['export', '--relative', $dir], ['export', '--server', 'x'],
    ['import', "$dir/all"], ['import', '--server', at($target), '--from', at($old), '-'], ['import', '--rate', 0, '--server', at($target)],
    ['import', '--server', at($target), '--from', at($old), '--format', 'csv'], ['import', '--server', 'x:y:z/']) {
	($code, $out, $err) = hearth(@$_);
	ok($code == 64 || ($code == 69 && "@$_" =~ m{/$}), "@$_: 64") or diag $code;
	is($out, '', 'nothing on standard output');
}
($code, $out, $err) = hearth('import', '--server', at($target), "$dir/none");
is($code, 74, 'no such file: 74');
like($err, qr{none: No such file}, 'named');
($code, $out, $err) = hearth('import', '--server', at($target), $dir);
is($code, 74, 'a directory: 74');
done_testing();
