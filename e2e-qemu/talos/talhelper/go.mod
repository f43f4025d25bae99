module basalt.local/talhelper

go 1.26.6

require github.com/budimanjojo/talhelper/v3 v3.1.16
