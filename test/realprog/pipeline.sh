# A shell loop that feeds a pipeline; the last part checks that no line is lost. Ends with PASS when a file "stop" appears.
echo READY
i=0
while [ ! -e stop ]; do
    echo "$i"
    i=$((i + 1))
    sleep 0.01
done | sed -u 's/$/ lines/' | grep --line-buffered lines | {
    expected=0
    while read -r number word; do
        [ "$number" = "$expected" ] && [ "$word" = lines ] || { echo "FAIL: $number instead of $expected"; exit 1; }
        expected=$((expected + 1))
    done
    [ "$expected" -gt 0 ] && echo PASS
}
