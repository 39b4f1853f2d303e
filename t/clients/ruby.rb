# SPDX-License-Identifier: BSD-3-Clause
# Dalli, which speaks the binary protocol: ruby.rb CLIENT HALF PORT. The halves and what they print: ../lib/Hearth/Matrix.pm.
require 'dalli'
_client, half, port = ARGV
C = Dalli::Client.new("127.0.0.1:#{port}", namespace: 'ruby')
MANY = (0...500).to_h { |i| ["many#{i}", "value #{i}"] }

def tell(feature, checks)
  checks.each do |what, (got, expected)|
    next if got == expected
    puts "#{feature}\t#{what}: got #{got.inspect}, expected #{expected.inspect}"
    return
  end
  puts "#{feature}\tok"
end

case half
when 'store'
  set = C.set('k', 'v') ? true : false
  tell 'set', 'set' => [set, true], 'get' => [C.get('k'), 'v'], 'miss' => [C.get('none'), nil]
  tell 'add', 'there' => [C.add('k', 'w') ? true : false, false], 'not there' => [C.add('a', 'w') ? true : false, true]
  # What it answers for a key that is not there is its own: the same with memcached.
  tell 'replace', 'there' => [C.replace('a', 'x') ? true : false, true], 'not there' => [(C.replace('none', 'x'); C.get('none')), nil]
  C.multi { MANY.each { |k, v| C.set(k, v) } }
  tell 'many', 'get' => [C.get_multi(MANY.keys), MANY]
  C.set('n', '10', 0, raw: true)
  tell 'count', 'up' => [C.incr('n', 5), 15], 'down' => [C.decr('n', 7), 8]
  C.set('s', 'b', 0, raw: true)
  C.append('s', 'c')
  C.prepend('s', 'a')
  tell 'append', 'both' => [C.get('s', raw: true), 'abc']
  tell 'cas', 'once' => [C.cas('k') { 'v' } ? true : false, true]
  C.set('t', 'x', 50)
  tell 'touch', 'there' => [C.touch('t', 100_000) ? true : false, true], 'not there' => [C.touch('none', 1) ? true : false, false]
  C.set('gone', 'x')
  C.delete('gone')
  tell 'delete', 'it' => [C.get('gone'), nil]
  C.set('big', 'B' * 700_000)
  tell 'big', 'get' => [C.get('big').length, 700_000]
  C.set('later', 'x', 100)
when 'read'
  tell 'kill -9', 'get' => [C.get('k'), 'v'], 'many' => [C.get_multi(MANY.keys), MANY], 'count' => [C.incr('n', 2), 10],
                  'deleted' => [C.get('gone'), nil], 'big' => [C.get('big').length, 700_000], 'later' => [C.get('later'), 'x']
else
  tell 'expiry', 'later' => [C.get('later'), nil], 'ever' => [C.get('k'), 'v'], 'touched' => [C.get('t'), 'x']
end
