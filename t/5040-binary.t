#!/usr/bin/perl
# SPDX-License-Identifier: BSD-3-Clause
# The binary protocol: every opcode, every status, quiet pipelines, values of all lengths, over kill -9; what is wrong with a
# request and what becomes of the connection then.
use strict;
use warnings;
use lib 't/lib';
use Hearth::Binary qw(request noop parse shown);
use Hearth::Daemon;
use Hearth::Process qw(run slurp sanitizer spawn spew wait_until);
use IO::Socket::INET;
use Test::More;

my $daemon = Hearth::Daemon->start(args => ['-m', 100, '-t', 2, '-I', '8m']);
my $b = Hearth::Binary->new($daemon->client);
my $text = $daemon->client;
my $never = 0xffffffff;

# What an answer says, in one line; requests by their parts.
sub says { return shown($b->one(@_)); }
sub numbers { my ($delta, $initial, $exptime) = @_; return pack 'Q>Q>N', $delta, $initial, $exptime; }
sub flags { my ($flags, $exptime) = @_; return pack 'NN', $flags, $exptime // 0; }

# ---- golden bytes ----
{
	my $c = $daemon->client;
	my @golden = (
		# set k (flags 0xdeadbeef, 1 hour) = value, opaque 01020304
		'80 01 0001 08 00 0000 0000000e 01020304 0000000000000000 deadbeef 00000e10 6b 76616c7565' =>
		    '81 01 0000 00 00 0000 00000000 01020304 CAS',
		# get k, getk k, getkq k, gat k
		'80 00 0001 00 00 0000 00000001 01020304 0000000000000000 6b' =>
		    '81 00 0000 04 00 0000 00000009 01020304 CAS deadbeef 76616c7565',
		'80 0c 0001 00 00 0000 00000001 00000000 0000000000000000 6b' =>
		    '81 0c 0001 04 00 0000 0000000a 00000000 CAS deadbeef 6b 76616c7565',
		'80 0d 0001 00 00 0000 00000001 ffffffff 0000000000000000 6b' =>
		    '81 0d 0001 04 00 0000 0000000a ffffffff CAS deadbeef 6b 76616c7565',
		'80 1d 0001 04 00 0000 00000005 00000000 0000000000000000 00000e10 6b' =>
		    '81 1d 0000 04 00 0000 00000009 00000000 CAS deadbeef 76616c7565',
		# touch k
		'80 1c 0001 04 00 0000 00000005 00000000 0000000000000000 00000e10 6b' =>
		    '81 1c 0000 04 00 0000 00000004 00000000 CAS deadbeef',
		# get x, getk x
		'80 00 0001 00 00 0000 00000001 00000007 0000000000000000 78' =>
		    '81 00 0000 00 00 0001 00000009 00000007 0000000000000000 4e6f7420666f756e64',
		'80 0c 0001 00 00 0000 00000001 00000007 0000000000000000 78' =>
		    '81 0c 0001 00 00 0001 00000001 00000007 0000000000000000 78',
		# incr n by 5, initial 16, to live for an hour; twice
		'80 05 0001 14 00 0000 00000015 00000000 0000000000000000 0000000000000005 0000000000000010 00000e10 6e' =>
		    '81 05 0000 00 00 0000 00000008 00000000 CAS 0000000000000010',
		'80 05 0001 14 00 0000 00000015 00000000 0000000000000000 0000000000000005 0000000000000010 00000e10 6e' =>
		    '81 05 0000 00 00 0000 00000008 00000000 CAS 0000000000000015',
		# append k, with a CAS that it does not have
		'80 0e 0001 00 00 0000 00000002 00000000 ffffffffffffffff 6b 78' =>
		    '81 0e 0000 00 00 0002 00000014 00000000 0000000000000000 446174612065786973747320666f72206b65792e',
		# delete k; noop; version; an unknown opcode
		'80 04 0001 00 00 0000 00000001 00000000 0000000000000000 6b' =>
		    '81 04 0000 00 00 0000 00000000 00000000 0000000000000000',
		'80 0a 0000 00 00 0000 00000000 12345678 0000000000000000' =>
		    '81 0a 0000 00 00 0000 00000000 12345678 0000000000000000',
		'80 0b 0000 00 00 0000 00000000 00000000 0000000000000000' =>
		    '81 0b 0000 00 00 0000 00000006 00000000 0000000000000000 312e362e3435',
		'80 77 0000 00 00 0000 00000000 00000000 0000000000000000' =>
		    '81 77 0000 00 00 0081 0000000f 00000000 0000000000000000 556e6b6e6f776e20636f6d6d616e64',
	);
	my ($sent, $expected) = ('', '');
	while (my ($request, $answer) = splice @golden, 0, 2) {
		$_ =~ s/ //g for $request, $answer;
		$answer =~ s/CAS/(?!0{16})[0-9a-f]{16}/;
		like(unpack('H*', $c->put(pack 'H*', $request)->bytes(24 + hex substr $answer, 16, 8)),
			qr/\A$answer\z/, 'bytes of opcode ' . substr $request, 2, 2);
		$sent .= pack 'H*', $request;
		$expected .= $answer;
	}
	$text->ask("delete n\r\n");
	like(unpack('H*', $daemon->client->stream($sent)), qr/\A$expected\z/, 'the same in one piece');
	$text->ask("delete n\r\n");
	like(unpack('H*', $daemon->client->stream(split //, $sent)), qr/\A$expected\z/, 'and byte by byte');
}

# ---- every answer of every opcode ----
is(says('add', 'a', extras => flags(7), value => '1'), '02 0000 - - -', 'add');
is(says('add', 'a', extras => flags(7), value => '2'), '02 0002 - - Data%20exists%20for%20key.', 'add, there');
is(says('addq', 'a', extras => flags(7), value => '2'), '12 0002 - - Data%20exists%20for%20key.', 'addq tells it, too');
is(says('replace', 'no', extras => flags(7), value => '2'), '03 0001 - - Not%20found', 'replace, not there');
is(says('replace', 'a', extras => flags(8), value => 'bb'), '03 0000 - - -', 'replace');
is(says('getk', 'a'), '0c 0000 %00%00%00%08 a bb', 'is stored');
is(says('append', 'a', value => 'c'), '0e 0000 - - -', 'append');
is(says('prepend', 'a', value => 'A'), '0f 0000 - - -', 'prepend');
is(says('append', 'no', value => 'c'), '0e 0005 - - Not%20stored.', 'append, not there');
is(says('prependq', 'no', value => 'c'), '1a 0005 - - Not%20stored.', 'prependq, not there');
is($text->get('a'), 'Abbc', 'which a text client reads');
is(says('set', 'empty', extras => flags(0)), '01 0000 - - -', 'an empty value');
is(says('get', 'empty'), '00 0000 %00%00%00%00 - -', 'is one');
is(says('append', 'empty'), '0e 0000 - - -', 'nothing is appended');
is(says('delete', 'empty'), '04 0000 - - -', 'delete');
is(says('delete', 'empty'), '04 0001 - - Not%20found', 'delete, not there');
is(says('deleteq', 'empty'), '14 0001 - - Not%20found', 'deleteq tells it, too');
is(says('incr', 'no', extras => numbers(1, 5, $never)), '05 0001 - - Not%20found', 'incr, not there and not to be made');
is(says('decrq', 'no', extras => numbers(1, 5, $never)), '16 0001 - - Not%20found', 'decrq tells it, too');
is(says('incr', 'a', extras => numbers(1, 5, 0)), '05 0006 - - Non-numeric%20server-side%20value%20for%20incr%20or%20decr',
	'incr of a text');
is($b->count('decr', 'n2', 1, 10, 0)->{value}, pack('Q>', 10), 'decr makes its number');
is($b->count('decr', 'n2', 3, 10, 0)->{value}, pack('Q>', 7), 'and counts down');
is($b->count('decr', 'n2', 30)->{value}, pack('Q>', 0), 'to 0 and no further');
is($text->get('n2'), '0', 'is a number for text clients, too, without blanks');
is($b->count('incr', 'n3', 1, '18446744073709551615', 0)->{value}, "\xff" x 8, 'the largest number');
is($b->count('incr', 'n3', 2)->{value}, pack('Q>', 1), 'goes on from 0');
is(says('touch', 'no', extras => pack 'N', 10), '1c 0001 - - Not%20found', 'touch, not there');
is(says('gat', 'no', extras => pack 'N', 10), '1d 0001 - - Not%20found', 'gat, not there');
is(says('gatk', 'no', extras => pack 'N', 10), '23 0001 - no -', 'gatk, not there');
is(says('verbosity', '', extras => pack 'N', 0), '1b 0000 - - -', 'verbosity');
is(says('sasl_list'), '20 0081 - - Unknown%20command', 'there are no SASL mechanisms');
is(says('sasl_auth', 'PLAIN', value => "\0me\0secret"), '21 0081 - - Unknown%20command', 'nor can they be used');
is(says(0x5f, 'key', extras => 'ext', value => 'value'), '5f 0081 - - Unknown%20command', 'an unknown opcode with all parts');
is(says('set', 'k' x 250, extras => flags(0), value => 'long'), '01 0000 - - -', 'the longest key');
is($b->get('k' x 250), 'long', 'works');
my $odd = "\0\r\n \xff";
is(says('set', $odd, extras => flags(0), value => "\r\n"), '01 0000 - - -', 'keys of any bytes');
is(says('getk', $odd), '0c 0000 %00%00%00%00 %00%0d%0a%20%ff %0d%0a', 'come back');

# ---- CAS ----
my $first = $b->set('c', 'one')->{cas};
isnt($first, 0, 'a set tells its CAS');
is($b->one('get', 'c')->{cas}, $first, 'get tells the same');
is($text->gets('c')->{cas}, $first, 'gets of text, too');
is($b->one('touch', 'c', extras => pack 'N', 0)->{cas}, $first, 'touch keeps it');
is(shown($b->set('c', 'x', cas => $first + 1)), '01 0002 - - Data%20exists%20for%20key.', 'set with another CAS');
is(shown($b->store('replace', 'c', 'x', cas => $first + 1)), '03 0002 - - Data%20exists%20for%20key.', 'replace with another');
is(shown($b->store('add', 'c', 'x', cas => $first + 1)), '02 0002 - - Data%20exists%20for%20key.', 'add with another');
is(shown($b->set('no', 'x', cas => 1)), '01 0001 - - Not%20found', 'set with a CAS of what is not there');
my $second = $b->set('c', 'two', cas => $first);
cmp_ok($second->{cas}, '!=', $first, 'set with the right one has a new one');
my $third = $b->one('append', 'c', value => '+', cas => $second->{cas});
is($third->{status}, 0, 'append with the right one');
is(says('prepend', 'c', value => '+', cas => $second->{cas}), '0f 0002 - - Data%20exists%20for%20key.', 'prepend with an old one');
is(says('deleteq', 'c', cas => $second->{cas}), '14 0002 - - Data%20exists%20for%20key.', 'deleteq with an old one');
is($b->get('c'), 'two+', 'nothing has changed');
is(says('delete', 'c', cas => $third->{cas}), '04 0000 - - -', 'delete with the right one');
# A text is looked at behind the CAS, unless it is empty.
for my $text ('x', 'x' x 5000, '') {
	my $cas = $b->set('ct', $text)->{cas};
	is($b->count('incr', 'ct', 1, 1, 0, cas => $cas + 1)->{status}, length $text ? 2 : 6, 'incr of a text with another');
	is($b->count('incr', 'ct', 1, 1, 0, cas => $cas)->{status}, 6, 'and with the right one');
}
my $count = $b->count('incr', 'cn', 1, 1, 0);
is(shown($b->count('incr', 'cn', 1, 1, 0, cas => $count->{cas} + 1)), '05 0002 - - Data%20exists%20for%20key.', 'incr with another');
is($b->count('incr', 'cn', 1, 1, 0, cas => $count->{cas})->{value}, pack('Q>', 2), 'incr with the right one');
isnt($b->set('gone', 'x', exptime => 1_000_000_000)->{cas}, 0, 'also what expires at once has a CAS');
is($b->get('gone'), undef, 'though it is gone');

# ---- quiet ----
my @pipeline = map { request('setq', "q$_", extras => flags($_), value => "value $_") } 1 .. 500;
is_deeply([$b->ask(@pipeline)], [], '500 setq are silent');
my @got = $b->ask(map { request($_ % 2 ? 'getq' : 'getkq', "q$_", opaque => $_) } 1 .. 1000);
is(scalar @got, 500, '1000 getq are answered by the hits');
is_deeply([map { "$_->{opaque} $_->{value} " . unpack 'N', $_->{extras} } @got], [map { "$_ value $_ $_" } 1 .. 500],
	'in order, each its own');
is_deeply(
	[map { shown($_) } $b->ask(
		request('addq', 'qa', extras => flags(0), value => '1'), request('incrq', 'qa', extras => numbers(1, 0, $never)),
		request('decrq', 'qa', extras => numbers(1, 0, $never)), request('appendq', 'qa', value => '0'),
		request('prependq', 'qa', value => '2'), request('replaceq', 'q1', extras => flags(0), value => 'r'),
		request('addq', 'qa', extras => flags(0), value => 'no'), request('deleteq', 'q2'),
		request('gatq', 'no', extras => pack 'N', 9), request('gatkq', 'no', extras => pack 'N', 9),
		request('gatkq', 'qa', extras => pack 'N', 1000))],
	['12 0002 - - Data%20exists%20for%20key.', '24 0000 %00%00%00%00 qa 210'], 'quiet successes and misses are not told, errors are');
is($b->get('q2'), undef, 'deleteq deletes');
is_deeply([$b->ask(request('flushq'))], [], 'flushq is silent');
is($b->get('qa'), undef, 'and flushes');
my $quitting = $daemon->client;
is(unpack('H*', $quitting->put(noop(1) . request('quitq') . noop(2))->rest), '810a00000000000000000000000000010000000000000000',
	'quitq says nothing and leaves');
is(length $daemon->client->put(request('quit'))->rest, 24, 'quit says so first');

# ---- values of all lengths, in pieces of all sizes ----
my $body = join '', map { pack 'N', $_ * 2654435761 % 2**32 } 1 .. 2_000_000;
my @lengths = (4095, 4096, 4097, 16_000, 16_383, 16_384, 30_000, 262_144, 700_000, 5_000_000, 7_999_000);
for my $length (@lengths) {
	my $value = substr $body, $length % 1000, $length;
	my $bytes = request('setq', "v$length", extras => flags($length), value => $value) . request('get', "v$length") . noop(3);
	my $c = $daemon->client;
	for (my $at = 0, my $piece = 1; $at < length $bytes; $at += $piece, $piece = $piece < 100_000 ? $piece * 3 : $piece) {
		$c->put(substr $bytes, $at, $piece);
	}
	my $got = $c->bytes(24 + 4 + $length + 24);
	my ($answer, $end) = parse(\$got);
	ok($answer->{value} eq $value && unpack('N', $answer->{extras}) == $length && $end->{opaque} == 3, "$length bytes");
}
my @all = $b->ask(map { request('getk', "v$_") } @lengths, @lengths);
is(join(' ', map { length $_->{value} } @all), "@lengths @lengths", 'many long values in one pipeline');
is(says('append', 'v700000', value => 'tail' x 100_000), '0e 0000 - - -', 'a long value is appended to a long one');
ok($b->get('v700000') eq substr($body, 0, 700_000) . 'tail' x 100_000, 'whole');
is(says('touch', 'v5000000', extras => pack 'N', 1000), '1c 0000 %00LK@ - -', 'touch of a long one');
ok($text->get('v5000000') eq substr($body, 0, 5_000_000), 'a text client reads it');
my $broken = $daemon->client;
$broken->put(substr request('set', 'v5000000', extras => flags(0), value => substr $body, 0, 5_000_000), 0, 1_000_000);
$broken->close;
my $half = $daemon->client;
$half->put(substr request('set', 'v30000', extras => flags(0), value => 'x' x 30_000), 0, 29_000);
$half->close;
ok($b->get('v5000000') eq substr($body, 0, 5_000_000) && length $b->get('v30000') == 30_000, 'a store that breaks off stores nothing');

# ---- too large ----
my $too_large = 'x' x (8 << 20);
$b->set('large', 'old');
is(says('append', 'large', value => $too_large), '0e 0003 - - Too%20large.', 'append of too much');
is(says('addq', 'large', extras => flags(0), value => $too_large), '12 0003 - - Too%20large.', 'addq of too much');
is($b->get('large'), 'old', 'leaves what is there');
is(says('append', 'v5000000', value => substr $too_large, 0, 5_000_000), '0e 0005 - - Not%20stored.', 'append that becomes too much');
is(says('setq', 'large', extras => flags(0), value => $too_large), '11 0003 - - Too%20large.', 'set of too much');
is($b->get('large'), undef, 'takes the old value along');
my $large_cas = $b->set('large', 'old')->{cas};
is(says('set', 'large', extras => flags(0), value => $too_large, cas => $large_cas + 1), '01 0003 - - Too%20large.', 'with a CAS');
is($b->get('large'), undef, 'too, as in memcached');

# ---- time ----
$b->set('t1', 'x', exptime => 100);
$b->set('t2', 'x', exptime => 100);
$b->set('t3', 'x', exptime => 100);
$b->set('t4', 'x');
is($b->one('touch', 't2', extras => pack 'N', 1000)->{status}, 0, 'touch');
is($b->one('gatk', 't3', extras => pack 'N', 0)->{value}, 'x', 'gatk');
is($b->one('gat', 't4', extras => pack 'N', 50)->{value}, 'x', 'gat');
$b->count('incr', 't5', 1, 1, 100);
$b->set('t6', 'x', exptime => 4_000_000_000);
is($b->one('gat', 't1', extras => pack 'N', 1_000_000_000)->{value}, 'x', 'gat into the past shows it once more');
is($b->get('t1'), undef, 'and never again');
$daemon->jump(200);
is(join(' ', map { defined $b->get("t$_") ? $_ : '-' } 1 .. 6), '- 2 3 - - 6', 'what expired and what did not');
is(says('flush', '', extras => pack 'N', 100), '08 0000 - - -', 'a flush in 100 seconds');
is($b->get('t2'), 'x', 'has not happened');
$daemon->jump(101);
wait_until('the delayed flush', sub { !defined $b->get('t2') });
is($b->get('t6'), undef, 'has happened');
is(says('flush', '', extras => pack 'N', 0), '08 0000 - - -', 'a flush at once');

# ---- over kill -9 ----
$b->set("kept$_", "value $_", flags => $_, exptime => $_ % 2 ? 1000 : 0) for 1 .. 100;
$b->ask(map { request('deleteq', "kept$_") } 1 .. 10);
$b->ask(map { request('appendq', "kept$_", value => '+') } 11 .. 20);
$b->count('incr', 'kept number', 5, 10, 0) for 1 .. 3;
my $cas = $b->set('kept cas', 'x')->{cas};
$b->set('kept large', substr $body, 0, 3_000_000);
$b->one('touch', 'kept21', extras => pack 'N', 1_000_000);
# Acknowledged is kept: quiet ones by the noop behind them.
$b->ask(map { request('setq', "quiet$_", extras => flags(0), value => $_) } 1 .. 1000);
$daemon->crash;
$b = Hearth::Binary->new($daemon->client);
my @want = map { ($_ > 10 ? "kept$_ value $_" . ($_ > 20 ? '' : '+') . " $_" : ()) } 1 .. 100;
@got = $b->ask(map { request('getkq', "kept$_") } 1 .. 100);
is_deeply([map { "$_->{key} $_->{value} " . unpack 'N', $_->{extras} } @got], \@want, 'values and flags are there after kill -9');
is($b->count('incr', 'kept number', 1)->{value}, pack('Q>', 21), 'the number goes on');
is($b->one('get', 'kept cas')->{cas}, $cas, 'the CAS is the same');
is($b->set('kept cas', 'y', cas => $cas)->{status}, 0, 'and works');
ok($b->get('kept large') eq substr($body, 0, 3_000_000), 'the large value is whole');
is(scalar(@got = $b->ask(map { request('getq', "quiet$_") } 1 .. 1000)), 1000, 'what quiet stores stored');
$daemon->jump(2000);
is($b->get('kept23'), undef, 'times to live, too');
is($b->get('kept21'), 'value 21', 'as they were touched');

# ---- stat ----
$text = $daemon->client;
my ($ours, $theirs) = ($b->stats, $text->stats);
is(join(' ', sort keys %$ours), join(' ', sort keys %$theirs), 'stat has the names of stats');
is($ours->{$_}, $theirs->{$_}, "$_ is the same") for qw(version curr_items cmd_set threads limit_maxbytes get_misses);
for my $part (qw(settings items slabs sizes persist)) {
	is(join(' ', sort keys %{ $b->stats($part) }), join(' ', sort keys %{ $text->stats($part) }), "stat $part");
}
is($b->stats('settings')->{binding_protocol}, 'auto-negotiate', 'stat settings');
is(says('stat', 'nosuch'), '10 0001 - - Not%20found', 'stat of something else');
is(says('stat', "items\0"), '10 0001 - - Not%20found', 'names are matched whole');
is(says('stat', 'x' x 200), '10 0001 - - Not%20found', 'also long ones');
is_deeply($b->stats('detail on'), {}, 'stat detail on');
is_deeply($b->stats('detail dump'), { detailed => "END\r\n" }, 'stat detail dump');
is_deeply($b->stats('detail off'), {}, 'stat detail off');
is_deeply($b->stats('reset'), {}, 'stat reset');
is($b->stats->{cmd_set}, 0, 'resets');
$b->set('s', 1);
$b->ask(request('getq', 's'), request('getk', 'nothing'), request('gat', 's', extras => pack 'N', 0),
	request('touch', 'nothing', extras => pack 'N', 0), request('delete', 'nothing'), request('delete', 's'));
$b->count('incr', 'sn', 1, 1, 0);
$b->count('incr', 'sn', 1, 1, 0);
$b->count('decr', 'nothing', 1);
$b->set('sn', 2, cas => 1);
$b->set('nothing', 2, cas => 1);
$ours = $b->stats;
is(join(' ', map { "$_=$ours->{$_}" } qw(cmd_set cmd_get get_hits get_misses cmd_touch touch_hits touch_misses delete_hits
	delete_misses incr_hits incr_misses decr_misses cas_badval cas_misses)),
	'cmd_set=3 cmd_get=2 get_hits=1 get_misses=1 cmd_touch=2 touch_hits=1 touch_misses=1 delete_hits=1 delete_misses=1 '
	. 'incr_hits=1 incr_misses=0 decr_misses=1 cas_badval=1 cas_misses=1', 'what was done is counted');

# ---- what is wrong with a request ----
my @wrong = (
	['a wrong magic', request('noop', '', magic => 0x81), ''],
	['text', "get s\r\nget s\r\nget s\r\n", ''],
	['a key longer than the body', request('get', 'key', body_len => 2), '00 0081'],
	['extras longer than the body', request('set', 'k', extras => flags(0), body_len => 8), '01 0081'],
	['a key of 64 KiB', request('get', '', key_len => 65535, body_len => 65535), '00 0004'],
	['a key of 251 bytes', request('get', 'k' x 251), '00 0004'],
	['no key', request('get'), '00 0004'],
	['get with extras', request('get', 'k', extras => '1234'), '00 0004'],
	['get with a value', request('get', 'k', value => 'v'), '00 0004'],
	['set without extras', request('set', 'k', value => 'v'), '01 0004'],
	['set of 4 GiB without a key', request('setq', '', extras => flags(0), body_len => 0xffffffff), '11 0004'],
	['incr with the extras of set', request('incr', 'k', extras => flags(0)), '05 0004'],
	['append with extras', request('append', 'k', extras => 'e', value => 'v'), '0e 0004'],
	['touch without a time', request('touch', 'k'), '1c 0004'],
	['touch with a value', request('touch', 'k', extras => '0000', value => 'v'), '1c 0004'],
	['flush with half a time', request('flush', '', extras => '00'), '08 0004'],
	['flush with a key', request('flush', 'k'), '08 0004'],
	['noop with a body', request('noop', '', value => 'v'), '0a 0004'],
	['version with a key', request('version', 'k'), '0b 0004'],
	['stat with extras', request('stat', '', extras => 'e'), '10 0004'],
	['verbosity without a level', request('verbosity'), '1b 0004'],
	['quit with a key', request('quit', 'k'), '07 0004'],
	['sasl without a mechanism', request('sasl_auth'), '21 0004'],
);
for (@wrong) {
	my ($what, $bytes, $answer) = @$_;
	my $got = $daemon->client->put(noop(9) . $bytes)->rest;
	my @answers = parse(\$got);
	is(join(', ', map { substr shown($_), 0, 7 } @answers) . $got, join(', ', '0a 0000', $answer || ()),
		"$what: " . ($answer ? 'told, ' : '') . 'and the connection ends');
}
my $rss = sub { slurp('/proc/' . $daemon->pid . '/status') =~ /^VmRSS:\s+(\d+)/m; return $1 / 1024 };
my $before = $rss->();
my @rude = map { $daemon->client } 1 .. 40;
$_->put(request('set', 'rude', extras => flags(0), body_len => 7_900_000) . 'x' x 3000) for @rude[0 .. 19];
$_->put(request('set', 'gone', extras => flags(0), body_len => 0xffffffff) . 'x' x 3000) for @rude[20 .. 29];
$_->put(request(0x70, '', body_len => 0xffffffff) . 'x' x 3000) for @rude[30 .. 39];
is($b->set('rude', 'polite')->{status}, 0, 'beside 40 requests that announce much');
cmp_ok($rss->() - $before, '<', 20, 'which take no memory for it') unless sanitizer();
is($b->get('rude'), 'polite', 'and change nothing');
my $reader = $daemon->client;
$reader->socket->blocking(0);
syswrite $reader->socket, request('get', 'kept large') x 200;
is($b->get('rude'), 'polite', 'beside a reader that does not read 600 MB');
cmp_ok($rss->() - $before, '<', 30, 'which takes no memory for that') unless sanitizer();
$_->close for @rude, $reader;

# ---- one port, two protocols ----
my $mixed = $daemon->client;
$mixed->put("version\r\n" . request('get', 'k') . "\r\nversion\r\n");
is(join('|', map { $mixed->line } 1 .. 3), 'VERSION 1.6.45|ERROR|VERSION 1.6.45', 'who begins with text goes on with text');
is($daemon->stop, 0, 'stops in order');

# ---- changes are refused: --max-disk is used up by what Hearth cannot retire ----
{
	my @small = ('-m', 8, '-I', '64k', '-t', 2, '--snapshot-interval', 0, '--snapshot-log-ratio', 0);
	my $noise = join '', map { chr(33 + int rand 90) } 1 .. 100_000; # does not compress
	my $full = Hearth::Daemon->start(args => [@small]);
	$b = Hearth::Binary->new($full->client);
	# More than the log's ring holds: stores wait for room in it.
	for my $round (1 .. 8) {
		my @told = $b->ask(map { request('setq', "r$_", extras => flags(0), value => substr $noise, rand 40_000, 60_000) } 1 .. 80);
		is(scalar @told, 0, 'many stores at once, all done') or last;
	}
	$b->set($_, 1, flags => 5) for 'r1', 'r2', 'r3';
	my $r1 = $b->one('get', 'r1')->{cas};
	spew($full->dir . '/foreign', 'x' x (20 << 20));
	$full->crash(args => [@small, '--max-disk', '16m']);
	$b = Hearth::Binary->new($full->client);
	my $refused = '0082 - - disk%20error,%20changes%20are%20refused';
	wait_until('changes to be refused', sub { $b->set('r4', substr $noise, 0, 60_000)->{status} == 0x82 }, 30);
	is(says('set', 'r1', extras => flags(0), value => 'x'), "01 $refused", 'set');
	is(says('setq', 'r1', extras => flags(0), value => 'x'), "11 $refused", 'setq, told as well');
	is(says('add', 'new', extras => flags(0), value => 'x'), "02 $refused", 'add');
	is(says('replace', 'r1', extras => flags(0), value => 'x', cas => $r1), "03 $refused", 'replace with a CAS');
	is(says('append', 'r1', value => 'x'), "0e $refused", 'append');
	is(says('incr', 'r1', extras => numbers(1, 1, 0)), "05 $refused", 'incr');
	is(says('decrq', 'none', extras => numbers(1, 1, 0)), "16 $refused", 'decrq');
	is(says('touch', 'r1', extras => pack 'N', 1000), "1c $refused", 'touch');
	is(says('gatkq', 'r1', extras => pack 'N', 1000), "24 $refused", 'gatkq');
	is(shown($b->one('get', 'r1')), '00 0000 %00%00%00%05 - 1', 'what is there is as it was');
	is($b->one('get', 'r1')->{cas}, $r1, 'with its CAS');
	is(says('delete', 'r1'), '04 0000 - - -', 'a delete is not refused');
	is(says('set', 'r2', extras => flags(0, 1_000_000_000), value => 'x'), '01 0000 - - -', 'nor a set that expires at once');
	is(says('set', 'r3', extras => flags(0), value => 'x' x 70_000), '01 0003 - - Too%20large.', 'nor what a failed set takes along');
	is(join(' ', map { $b->get("r$_") // '-' } 1 .. 3), '- - -', 'all three are gone');
	$full->crash;
	$b = Hearth::Binary->new($full->client);
	is(join(' ', map { $b->get("r$_") // '-' } 1 .. 3), '- - -', 'also after kill -9');
	is($full->stop, 0, 'stops in order');
}

# ---- options ----
$daemon->up(args => ['-F', '-M', '-m', 10, '-B', 'auto']);
$b = Hearth::Binary->new($daemon->client);
is(says('flush'), '08 0020 - - Auth%20failure.', '-F: no flush');
is(says('flushq', '', extras => pack 'N', 9), '18 0020 - - Auth%20failure.', 'nor a quiet one');
my @full;
for my $i (1 .. 40) {
	push @full, grep { $_->{status} } $b->ask(request('setq', "full$i", extras => flags(0), value => 'x' x 500_000, opaque => $i));
}
cmp_ok(scalar @full, '>', 5, '-M: memory is full');
is(join(' ', map { sprintf '%04x %s', @$_{qw(status value)} } @full), join(' ', ('0082 Out of memory') x @full), 'and says so');
$daemon->stop;
$daemon->up(args => ['-B', 'ascii']);
is($daemon->client->ask(request('get', 'k') . "\r\n"), 'ERROR', '-B ascii: a binary request is a bad line');
is($daemon->client->stats('settings')->{binding_protocol}, 'ascii', 'shown in the settings');
$daemon->stop;
{
	my $port = Hearth::Daemon::free_port();
	my $errors = Hearth::Process::scratch_dir() . '/err';
	my $pid = spawn([Hearth::Process::program('hearthd'), '-l', '127.0.0.1', '-p', $port, '--data-dir', 'none', '-B', 'binary',
		$> == 0 ? ('-u', 'root') : ()], err => $errors);
	my $client = wait_until('a daemon of binary alone', sub { Hearth::Client->new(port => $port, quiet => 1) });
	is(Hearth::Binary->new($client)->stats('settings')->{binding_protocol}, 'binary', '-B binary: speaks it');
	is(Hearth::Client->new(port => $port)->put("version\r\n")->rest, '', 'and nothing else');
	kill 'TERM', $pid;
	is(Hearth::Process::reap($pid, 60), 0, 'stops in order');
	Hearth::Process::nothing_reported(slurp($errors));
}
my ($code, $err) = Hearth::Daemon->refused('-B', 'ebcdic');
is($code, 64, '-B knows its names');
like($err, qr/must be one of auto\|ascii\|binary/, 'and says which');

# ---- libmemcached's own test of a server ----
$daemon->up(args => ['-m', 64]);
my (undef, $out) = run(['sh', '-c', 'memccapable -h 127.0.0.1 -t 20 -p ' . $daemon->port . ' 2>&1']);
my @failed = $out =~ /^((?:ascii|binary) \S.*?) +(?:\d+ of \d+ tests failed\s+)?\[FAIL\]/mg;
is(join(', ', @failed), '', 'memccapable fails nothing');
is(scalar(my @pass = $out =~ /\[pass\]/g), 54, 'all of 54 pass');
is($daemon->stop, 0, 'stops in order');
done_testing();
