#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# --compress: twice the items at the same -m and more, every protocol's commands on packed values, starts from log and
# snapshot with and without the option, what damage to a dictionary costs, and what the tool says of it all.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Binary;
use Hearth::Daemon;
use Hearth::Files qw(copy_dir flip newest);
use Hearth::Process qw(program run sanitizer scratch_dir slurp wait_until);
use JSON::PP qw(decode_json);
use Test::More;

# The value of a key: an object as services keep it, of about 300 to 1000 bytes, the same at each call.
my @cities = qw(Berlin Paris London Madrid Vienna Oslo Rome Prague);
my @names = qw(Lovelace Hopper Turing Dijkstra Liskov Knuth Allen Backus);

sub value
{
	my ($n) = @_;
	my $random = $n;
	my $draw = sub { $random = ($random * 1103515245 + 12345) & 0x7fffffff; return ($random >> 8) % $_[0]; };
	my $text = sprintf '{"id":%d,"name":"%s","email":"%s.%d@example.org","active":%s,"created":"20%02d-%02d-%02d","tags":'
	    . '["t%d","t%d"],"session":"%08x"', $n, $names[$draw->(8)], lc $names[$draw->(8)], $draw->(10000),
	    $draw->(2) ? 'true' : 'false', $draw->(30), 1 + $draw->(12), 1 + $draw->(28), $draw->(50), $draw->(50),
	    $draw->(1 << 23);
	$text .= sprintf ',"item%d":{"sku":"%05d","price":%d.%02d,"quantity":%d,"city":"%s"}', $_, $draw->(100000),
	    $draw->(500), $draw->(100), $draw->(9), $cities[$draw->(8)]
	    for 1 .. 2 + $n % 8;
	return "$text}";
}

# Keys $from .. $to, set in batches.
sub fill
{
	my ($c, $from, $to) = @_;
	for (my $n = $from; $n <= $to; $n += 100) {
		my $end = $n + 99 < $to ? $n + 99 : $to;
		$c->put(join '', map { my $v = value($_); "set k$_ $_ 0 " . length($v) . " noreply\r\n$v\r\n" } $n .. $end);
	}
	$c->ask("version\r\n");
	return;
}

# How many of these keys are there, and those whose value or flags are not exactly what was set.
sub count
{
	my ($c, $from, $to) = @_;
	my ($there, @wrong) = 0;
	for (my $n = $from; $n <= $to; $n += 50) {
		my $end = $n + 49 < $to ? $n + 49 : $to;
		my $items = $c->items('get ' . join ' ', map { "k$_" } $n .. $end);
		for my $k ($n .. $end) {
			my $item = $items->{"k$k"} // next;
			$there++;
			push @wrong, $k if $item->{value} ne value($k) || $item->{flags} != $k;
		}
	}
	return ($there, "@wrong");
}

# Until each class of lengths that occurs has its dictionary; two of them: up to 512 bytes, and up to 1024.
sub train
{
	my ($c) = @_;
	my $n = 10_000_000;
	wait_until('dictionaries', sub { fill($c, $n, $n + 999); $n += 1000; $c->stats('compress')->{compress_trainings} >= 2 },
		300);
	return;
}

sub hearth { return run([program('hearth'), @_]); }

# ---- density ----
my $most = sanitizer() ? 40_000 : 60_000;
my %items;
for my $option ([], ['--compress']) {
	my $daemon = Hearth::Daemon->start(dir => 'none', args => ['-m', 8, '-t', 2, @$option]);
	my $c = $daemon->client;
	train($c) if @$option;
	fill($c, 1, $most);
	my $name = @$option ? 'compress' : 'plain';
	my $stats = $c->stats;
	$items{$name} = $stats->{curr_items};
	cmp_ok($stats->{evictions}, '>', 0, "$name: memory is full");
	my ($there, $wrong) = count($c, 1, $most);
	cmp_ok($there, '>', 3000, "$name: $there keys are there");
	is($wrong, '', "$name: each is what was set, byte by byte");
	my $packed = $c->stats('compress');
	is($packed->{compress}, @$option ? 'yes' : 'no', "$name: stats compress");
	is($packed->{compress_errors}, 0, "$name: no errors");
	cmp_ok($packed->{compress_raw_bytes}, '>', 3 * $packed->{compress_stored_bytes}, "$name: to a third") if @$option;
	is($daemon->stop, 0, "$name: stops");
}
cmp_ok($items{compress}, '>=', 2 * $items{plain}, "$items{compress} items instead of $items{plain}");

# ---- what clients see ----
my @args = ('-m', 64, '-t', 2, '--snapshot-interval', 0, '--snapshot-log-ratio', 0);
my $daemon = Hearth::Daemon->start(args => [@args, '--compress']);
my $dir = $daemon->dir;
my $c = $daemon->client;
my $last = 3000;
train($c);
$c->ask("flush_all\r\n");
fill($c, 1, $last);
my $sets = $c->stats('compress')->{compress_sets};
my $v = value(7);
my $length = length $v;

is($c->gets('k7')->{value}, $v, 'gets');
is($c->ask("mg k7 s v f\r\n"), "VA $length s$length f7", 'mg: the size is the value\'s');
is($c->bytes($length + 2), "$v\r\n", 'and the value');
is($c->ask("mg k7 s t k\r\n"), "HD s$length t-1 kk7", 'mg without value');
is($c->ask("mg k8 h v\r\n"), 'VA ' . length(value(8)) . ' h0', 'not fetched before');
$c->bytes(length(value(8)) + 2);
is($c->items('gat 1000 k7')->{k7}{value}, $v, 'gat');
is($c->ask("touch k7 2000\r\n"), 'TOUCHED', 'touch');
like($c->ask("mg k7 t\r\n"), qr/^HD t(2000|1999|1998)$/, 'the time to live is the new one');
is($c->store('add', 'k7', $v), 'NOT_STORED', 'add');
is($c->store('replace', 'k9', value(9), flags => 9), 'STORED', 'replace');
my $cas = $c->gets('k9')->{cas};
is($c->store('cas', 'k9', value(9), flags => 9, cas => $cas + 1), 'EXISTS', 'cas with another');
is($c->store('cas', 'k9', value(9), flags => 9, cas => $cas), 'STORED', 'cas');
is($c->ask('ms new ' . length($v) . " s\r\n$v\r\n"), "HD s$length", 'ms: the size is the value\'s');

is($c->store('append', 'k20', 'tail'), 'STORED', 'append');
is($c->get('k20'), value(20) . 'tail', 'onto the whole value');
is($c->store('prepend', 'k21', 'head'), 'STORED', 'prepend');
is($c->get('k21'), 'head' . value(21), 'before the whole value');
is($c->ask('ms k22 2 MA s' . "\r\nab\r\n"), 'HD s' . (length(value(22)) + 2), 'ms in append mode');
like($c->ask("incr k23 1\r\n"), qr/non-numeric/, 'incr of what is no number');
is($c->get('k23'), value(23), 'which stays');
my $number = '41' . ' ' x 200;
is($c->set('number', $number), 'STORED', 'a long number');
is($c->ask("incr number 1\r\n"), 42, 'incr of it');

is($c->ask("md k24 I T30000\r\n"), 'HD', 'md I: stale');
my $stale = length value(24);
is($c->ask("mg k24 v\r\n"), "VA $stale X W", 'stale, and won');
is($c->bytes($stale + 2), value(24) . "\r\n", 'with its value');
is($c->ask("mg k24 v\r\n"), "VA $stale Z X", 'won already');
$c->bytes($stale + 2);

my $b = Hearth::Binary->new($daemon->client);
is($b->get('k30'), value(30), 'binary get');
is($b->set('k31', value(31), flags => 31)->{status}, 0, 'binary set');
is($b->get('k31'), value(31), 'and get');
is($b->one('append', 'k22', value => 'x')->{status}, 0, 'binary append');
is($b->get('k22'), value(22) . 'abx', 'onto the whole value');
my $dump = $daemon->client->stream("lru_crawler metadump all\r\n");
my ($size) = $dump =~ /^key=k7 .*?size=(\d+)/m;
cmp_ok($size, '>', $length, 'metadump tells the size as it is without the option');

my $large = join ',', map { value($_) } 1 .. 60;
is($c->set('large', $large), 'STORED', 'a value of ' . length($large) . ' bytes');
is($c->get('large'), $large, 'comes back');
cmp_ok($c->stats('compress')->{compress_sets}, '>=', $sets, 'what was set was packed');

# ---- starts ----
my %changed = map { $_ => 1 } (20, 21, 22);

sub all_there
{
	my ($what) = @_;
	my $client = $daemon->client;
	my ($there, $wrong) = count($client, 1, $last);
	is($there, $last, "$what: all are there");
	is($wrong, '20 21 22', "$what: and exact, but for those that were changed");
	is($client->get('k20'), value(20) . 'tail', "$what: as they were changed");
	is($client->get('large'), $large, "$what: the large one");
	is($client->get('k22'), value(22) . 'abx', "$what: twice");
	is($client->stats('compress')->{compress_errors}, 0, "$what: no errors");
	return;
}

all_there('before');
$daemon->crash;
all_there('killed');
$daemon->crash(args => [@args]);
all_there('killed, without the option');
is($daemon->client->stats('compress')->{compress}, 'no', 'the option is off');
is($daemon->client->set('k25', value(25), flags => 25), 'STORED', 'a set without it');
$daemon->crash(args => [@args, '--compress']);
all_there('with it again');
is($daemon->client->stats('compress')->{compress_trainings}, 0, 'nothing is trained anew');
my ($code, $out, $err) = hearth('snapshot', $dir);
is($code, 0, 'a snapshot') or diag $err;
fill($daemon->client, 1, 19);
$daemon->crash;
all_there('from a snapshot');
is($daemon->stop, 0, 'stops');

# ---- the tool ----
sub records { my ($text) = @_; return map { decode_json($_) } split /\n/, $text; }

($code, $out, $err) = hearth('check', $dir);
is($code, 0, 'check') or diag "$out$err";
($code, $out, $err) = hearth('dump', '--json', '--values', $dir);
is("$code $err", '0 ', 'dump');
my @records = records($out);
my @packed = grep { $_->{op} eq 'set' && $_->{dict} } @records;
cmp_ok(scalar @packed, '>=', $last - 3, 'packed values');
my @wrong = grep { my ($n) = $_->{key} =~ /^k(\d+)$/; $n && !$changed{$n}
	    && ($_->{value} ne value($n) || $_->{size} != length value($n) || $_->{packed} >= $_->{size}) } @packed;
is(scalar @wrong, 0, 'are shown as they were set');
my @dicts = grep { $_->{op} eq 'dict' } @records;
cmp_ok(scalar @dicts, '>=', 2, 'dictionaries');
my %id = map { $_->{dict} => 1 } @dicts;
is(scalar(grep { !$id{$_->{dict}} } @packed), 0, 'every one that is needed');
($code, $out, $err) = hearth('dump', '--key', 'k7', '--values', $dir);
like($out, qr/ size=$length .*\Q$v\E/, 'the history of a key');

my $restored = scratch_dir() . '/restored';
($code, $out, $err) = hearth('restore', $dir, '--to', $restored);
is($code, 0, 'restore') or diag $err;
is((hearth('check', $restored))[0], 0, 'check of what was restored');
$daemon = Hearth::Daemon->start(dir => $restored, args => [@args]);
all_there('restored');
$daemon->stop;

# From a backup, as of the snapshot.
my $vault = scratch_dir() . '/vault';
($code, $out, $err) = hearth('backup', $dir, '--to', $vault);
is($code, 0, 'backup') or diag $err;
my $again = scratch_dir() . '/again';
($code, $out, $err) = hearth('restore', $vault, '--to', $again);
is($code, 0, 'restore from it') or diag $err;
$daemon = Hearth::Daemon->start(dir => $again, args => [@args]);
all_there('from the backup');
$daemon->stop;

# ---- damage ----
my $copy = copy_dir($dir);
my $snapshot = newest($copy, 'snapshot');
my ($dict) = grep { $_->{op} eq 'dict' && $_->{file} =~ /^snapshot/ } @dicts;
my $needs = grep { $_->{file} =~ /^snapshot/ && $_->{dict} == $dict->{dict} && $_->{key} =~ /^k\d/ } @packed;
cmp_ok($needs, '>', 100, 'many need the first dictionary');
flip($snapshot, $dict->{offset} + 200, 3);

($code, $out, $err) = hearth('check', $copy);
is($code, 2, 'check: damage');
like($err, qr/a value is packed with a dictionary that is not there/, 'and says which');
($code, $out, $err) = hearth('dump', '--json', '--values', $snapshot);
is($code, 2, 'dump: damage');
like($err, qr/\Q$snapshot\E: at offset \d+: a value is packed with a dictionary that is not there/, 'is named');
my @bad = grep { $_->{op} eq 'set' && ($_->{dict} // 0) == $dict->{dict} } records($out);
is(scalar(grep { defined $_->{value} } @bad), 0, 'and no garbage is shown');

my $strict = Hearth::Daemon->prepare(dir => $copy, args => [@args, '--strict']);
isnt($strict->try_up // 0, 0, 'a strict start refuses');
$daemon = Hearth::Daemon->start(dir => $copy, args => [@args, '--compress']);
like($daemon->errors, qr/dictionary $dict->{dict} is not there/, 'a start names the dictionary');
like($daemon->errors, qr/snapshot-\d+ at offset \d+/, 'the file and the place');
my ($there, $wrong) = count($daemon->client, 1, $last);
is($wrong =~ s/\b2[012]\b ?//gr, '', 'what is there is exact');
my %behind = map { $_->{key} => 1 } grep { $_->{file} =~ /^log/ && ($_->{key} // '') =~ /^k\d/ } @records;
cmp_ok($there, '<=', $last - $needs + keys %behind, 'what needs it is gone');
cmp_ok($there, '>=', $last - $needs, 'and nothing else');
$daemon->stop;
done_testing();
